"""What crosses a wall: tables, tensors, the backend protocol, results, parameters."""
