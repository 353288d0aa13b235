"""Units, what people call them and what they show, finer names with every label, and the next question."""
