"""The nouns of Ingle as frozen values. No IO here."""
