"""Use: does the exchange of one layer's states between two prompts exchange the emotion of their music?"""
