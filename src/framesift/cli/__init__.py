"""The command line. Every verb parses, makes one call of the library, and renders what came back."""
