"""The tables, as SQLAlchemy Core sees them; migrations/ makes them."""

from sqlalchemy import Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, Table, Text

#: The newest of migrations/versions: a database that says so needs no Alembic at start (its import costs 45 MB).
REVISION = "0001"

METADATA = MetaData()

APPS = Table(
    "apps",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("detached", Boolean, nullable=False),
    Column("created_s", Float, nullable=False),
    Column("stopped_s", Float),
    Column("stop_reason", Text, nullable=False),
    Column("request", Text, nullable=False, unique=True),  # the client's own id: said twice, one app
    Index("apps_by_state", "state", "created_s"),
)

FUNCTIONS = Table(
    "functions",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("app_id", Text, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("spec", Text, nullable=False),  # JSON of model.function.FunctionSpec
)

CALLS = Table(  # spawned ones only: the others live in their clients
    "calls",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("function_id", Text, nullable=False, index=True),
    Column("created_s", Float, nullable=False, index=True),
    Column("total", Integer, nullable=False),  # inputs ever accepted; fewer rows in `inputs`: the rest has expired
)

INPUTS = Table(
    "inputs",
    METADATA,
    Column("call_id", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("payload", LargeBinary),  # null once it has ended
    Column("payload_blob", Boolean, nullable=False),
    Column("outcome", Text),
    Column("output", LargeBinary),
    Column("output_blob", Boolean, nullable=False),
    Column("ended_s", Float, index=True),  # null: it waits or runs
    PrimaryKeyConstraint("call_id", "number"),
)
