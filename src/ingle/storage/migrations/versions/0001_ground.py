"""Apps, functions, spawned calls and their inputs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "apps",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("detached", sa.Boolean, nullable=False),
        sa.Column("created_s", sa.Float, nullable=False),
        sa.Column("stopped_s", sa.Float),
        sa.Column("stop_reason", sa.Text, nullable=False),
        sa.Column("request", sa.Text, nullable=False, unique=True),
    )
    op.create_index("apps_by_state", "apps", ["state", "created_s"])
    op.create_table(
        "functions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
    )
    op.create_index("ix_functions_app_id", "functions", ["app_id"])
    op.create_table(
        "calls",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("function_id", sa.Text, nullable=False),
        sa.Column("created_s", sa.Float, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
    )
    op.create_index("ix_calls_function_id", "calls", ["function_id"])
    op.create_index("ix_calls_created_s", "calls", ["created_s"])
    op.create_table(
        "inputs",
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("payload", sa.LargeBinary),
        sa.Column("payload_blob", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("output", sa.LargeBinary),
        sa.Column("output_blob", sa.Boolean, nullable=False),
        sa.Column("ended_s", sa.Float),
        sa.PrimaryKeyConstraint("call_id", "number"),
    )
    op.create_index("ix_inputs_ended_s", "inputs", ["ended_s"])
