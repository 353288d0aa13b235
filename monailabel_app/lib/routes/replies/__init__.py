"""Models of the JSON that routes send. ``/docs`` and ``/openapi.json`` describe replies by them."""
