"""HTTP and WebSockets: from requests to the rules and back. No decisions here."""
