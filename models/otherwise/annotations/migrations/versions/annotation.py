"""The table of annotations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "annotation",
        # SQLite numbers rows by a column of type INTEGER, and by no other.
        sa.Column(
            "number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=False
        ),
        sa.Column("id", sa.Text(), nullable=False, unique=True),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("scheme", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("withdraws", sa.Text(), sa.ForeignKey("annotation.id"), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
    )
    op.create_index("annotation_image", "annotation", ["image"])
    op.create_index("annotation_withdraws", "annotation", ["withdraws"])
