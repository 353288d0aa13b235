"""What people teach the server: annotations, units, names, questions; kept up to date behind everybody's back."""
