"""A judge behind HTTP: `lager serve`. Needs the extra [serve]."""
