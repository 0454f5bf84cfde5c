CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE metrics (
	run_id VARCHAR(128) NOT NULL, 
	step INTEGER NOT NULL, 
	"values" TEXT NOT NULL, 
	PRIMARY KEY (run_id, step)
);
CREATE TABLE rollouts (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	rollout_id VARCHAR(128) NOT NULL, 
	run_id VARCHAR(128) NOT NULL, 
	environment VARCHAR(128) NOT NULL, 
	task_id VARCHAR(256) NOT NULL, 
	group_id VARCHAR(256) NOT NULL, 
	step INTEGER NOT NULL, 
	outcome VARCHAR(16) NOT NULL, 
	reward FLOAT, 
	created_at FLOAT NOT NULL, 
	record TEXT NOT NULL, 
	blob_file VARCHAR(64) NOT NULL, 
	blob_offset INTEGER NOT NULL, 
	blob_length INTEGER NOT NULL, 
	blob_crc32 INTEGER NOT NULL, 
	CONSTRAINT uq_rollouts_rollout_id UNIQUE (rollout_id)
);
CREATE TABLE runs (
	run_id VARCHAR(128) NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	recipe TEXT NOT NULL, 
	seed INTEGER NOT NULL, 
	arm VARCHAR(32) NOT NULL, 
	status VARCHAR(32) NOT NULL, 
	created_at FLOAT NOT NULL, 
	finished_at FLOAT, 
	summary TEXT NOT NULL, 
	PRIMARY KEY (run_id)
);
CREATE TABLE task_profiles (
	environment VARCHAR(128) NOT NULL, 
	task_id VARCHAR(256) NOT NULL, 
	checkpoint VARCHAR(256) NOT NULL, 
	passes FLOAT NOT NULL, 
	count INTEGER NOT NULL, 
	PRIMARY KEY (environment, task_id, checkpoint)
);
CREATE INDEX ix_rollouts_run ON rollouts (run_id, seq);
CREATE INDEX ix_rollouts_group ON rollouts (group_id);
