"""Stage `report`: the results of all stages on one page."""
