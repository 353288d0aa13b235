"""The demo: images, a real server as a subprocess, and everything asked over HTTP as any client would."""
