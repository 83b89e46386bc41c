"""The web page and the HTTP API that it uses: predictions by the same code as the command line's."""
