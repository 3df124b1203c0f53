"""Stage `interchange`: does the exchange of a layer's states exchange the emotion of the music?"""
