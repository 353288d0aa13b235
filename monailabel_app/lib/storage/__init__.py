"""Files and folders on the server: explanations, uploads, studies, and the lock of the state folder."""
