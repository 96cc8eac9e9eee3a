-- Copyright (c) 2026, Kestra community DR contributors
-- GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- A database laid out as Kestra 0.21 lays it out: its 19 tables with their columns and generated values, three enums,
-- the functions the generated columns call, the sequence and the trigger. Written for these tests.

CREATE TYPE state_type AS ENUM ('CREATED', 'RUNNING', 'PAUSED', 'RESTARTED', 'KILLING', 'SUCCESS', 'WARNING', 'FAILED',
    'KILLED', 'CANCELLED', 'QUEUED', 'RETRYING', 'RETRIED', 'SKIPPED');
CREATE TYPE log_level AS ENUM ('ERROR', 'WARN', 'INFO', 'DEBUG', 'TRACE');
CREATE TYPE queue_type AS ENUM ('io.kestra.core.models.executions.Execution', 'io.kestra.core.models.flows.Flow',
    'io.kestra.core.models.executions.LogEntry', 'io.kestra.core.runners.WorkerJob');

CREATE FUNCTION state_fromtext(text) RETURNS state_type LANGUAGE sql IMMUTABLE RETURN CAST($1 AS state_type);
CREATE FUNCTION loglevel_fromtext(text) RETURNS log_level LANGUAGE sql IMMUTABLE RETURN CAST($1 AS log_level);
CREATE FUNCTION parse_iso8601_datetime(text) RETURNS timestamptz LANGUAGE sql IMMUTABLE RETURN CAST($1 AS timestamptz);
CREATE FUNCTION parse_iso8601_timestamp(text) RETURNS int LANGUAGE sql IMMUTABLE
    RETURN CAST(extract(epoch FROM CAST($1 AS timestamptz)) AS int);
CREATE FUNCTION parse_iso8601_duration(text) RETURNS interval LANGUAGE sql IMMUTABLE RETURN CAST($1 AS interval);
CREATE FUNCTION fulltext_replace(text, text) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN regexp_replace(coalesce($1, ''), '[^a-zA-Z\d:]', $2, 'g');
CREATE FUNCTION fulltext_index(text) RETURNS tsvector LANGUAGE sql IMMUTABLE
    RETURN to_tsvector('simple', fulltext_replace($1, ' ')) || to_tsvector('simple', $1);
CREATE FUNCTION fulltext_search(text) RETURNS tsquery LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN fulltext_replace($1, '') = '' THEN to_tsquery('')
                ELSE to_tsquery('simple', fulltext_replace($1, ':* & ') || ':*') END;
CREATE FUNCTION update_updated_datetime() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated = now();
    RETURN NEW;
END;
$$;

CREATE TABLE dashboards (
    key varchar(250) PRIMARY KEY, value jsonb NOT NULL,
    tenant_id varchar(250) GENERATED ALWAYS AS (value ->> 'tenantId') STORED,
    deleted bool NOT NULL GENERATED ALWAYS AS (CAST(value ->> 'deleted' AS bool)) STORED,
    id varchar(100) NOT NULL GENERATED ALWAYS AS (value ->> 'id') STORED,
    title varchar(250) NOT NULL GENERATED ALWAYS AS (value ->> 'title') STORED,
    description text GENERATED ALWAYS AS (value ->> 'description') STORED,
    fulltext tsvector GENERATED ALWAYS AS (fulltext_index(CAST(value ->> 'title' AS varchar))) STORED,
    source_code text NOT NULL,
    created timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP, updated timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE INDEX dashboards_fulltext ON dashboards USING gin (fulltext);
CREATE TRIGGER dashboard_updated BEFORE UPDATE ON dashboards FOR EACH ROW EXECUTE FUNCTION update_updated_datetime();

CREATE TABLE execution_queued (
    key varchar(250) PRIMARY KEY, value jsonb NOT NULL,
    tenant_id varchar(250) GENERATED ALWAYS AS (value ->> 'tenantId') STORED,
    namespace varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'namespace') STORED,
    flow_id varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'flowId') STORED,
    date timestamptz NOT NULL GENERATED ALWAYS AS (parse_iso8601_datetime(value ->> 'date')) STORED);

CREATE TABLE executions (
    key varchar(250) PRIMARY KEY, value jsonb NOT NULL,
    deleted bool NOT NULL GENERATED ALWAYS AS (CAST(value ->> 'deleted' AS bool)) STORED,
    namespace varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'namespace') STORED,
    flow_id varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'flowId') STORED,
    state_current state_type NOT NULL GENERATED ALWAYS AS (state_fromtext(value #>> '{state,current}')) STORED,
    state_duration bigint NOT NULL GENERATED ALWAYS AS
        (CAST(extract(milliseconds FROM parse_iso8601_duration(value #>> '{state,duration}')) AS bigint)) STORED,
    start_date timestamp NOT NULL GENERATED ALWAYS AS (parse_iso8601_datetime(value #>> '{state,startDate}')) STORED,
    end_date timestamp GENERATED ALWAYS AS (parse_iso8601_datetime(value #>> '{state,endDate}')) STORED,
    fulltext tsvector GENERATED ALWAYS AS (
        fulltext_index(CAST(value ->> 'namespace' AS varchar)) || fulltext_index(CAST(value ->> 'flowId' AS varchar)) ||
        fulltext_index(CAST(value ->> 'id' AS varchar))) STORED,
    id varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'id') STORED,
    tenant_id varchar(250) GENERATED ALWAYS AS (value ->> 'tenantId') STORED,
    trigger_execution_id varchar(150) GENERATED ALWAYS AS (value #>> '{trigger,variables,executionId}') STORED);
CREATE INDEX executions_state_current ON executions (deleted, tenant_id, state_current);
CREATE INDEX executions_start_date ON executions (deleted, tenant_id, start_date);
CREATE INDEX executions_fulltext ON executions USING gin (fulltext);
CREATE INDEX executions_labels ON executions USING gin ((value -> 'labels'));

CREATE TABLE executordelayed (
    key varchar(250) PRIMARY KEY, value jsonb NOT NULL,
    date timestamptz NOT NULL GENERATED ALWAYS AS (parse_iso8601_datetime(value ->> 'date')) STORED);
CREATE TABLE executorstate (key varchar(250) PRIMARY KEY, value jsonb NOT NULL);

CREATE TABLE flow_topologies (
    key varchar(250) PRIMARY KEY, value jsonb NOT NULL,
    source_namespace varchar(150) NOT NULL GENERATED ALWAYS AS (value #>> '{source,namespace}') STORED,
    source_id varchar(150) NOT NULL GENERATED ALWAYS AS (value #>> '{source,id}') STORED,
    relation varchar(100) NOT NULL GENERATED ALWAYS AS (value ->> 'relation') STORED,
    destination_namespace varchar(150) NOT NULL GENERATED ALWAYS AS (value #>> '{destination,namespace}') STORED,
    destination_id varchar(150) NOT NULL GENERATED ALWAYS AS (value #>> '{destination,id}') STORED,
    source_tenant_id varchar(250) GENERATED ALWAYS AS (value #>> '{source,tenantId}') STORED,
    destination_tenant_id varchar(250) GENERATED ALWAYS AS (value #>> '{destination,tenantId}') STORED);

CREATE TABLE flows (
    key varchar(250) PRIMARY KEY, value jsonb NOT NULL,
    deleted bool NOT NULL GENERATED ALWAYS AS (CAST(value ->> 'deleted' AS bool)) STORED,
    id varchar(100) NOT NULL GENERATED ALWAYS AS (value ->> 'id') STORED,
    namespace varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'namespace') STORED,
    revision int NOT NULL GENERATED ALWAYS AS (CAST(value ->> 'revision' AS int)) STORED,
    fulltext tsvector GENERATED ALWAYS AS (
        fulltext_index(CAST(value ->> 'namespace' AS varchar)) || fulltext_index(CAST(value ->> 'id' AS varchar))) STORED,
    source_code text NOT NULL,
    tenant_id varchar(250) GENERATED ALWAYS AS (value ->> 'tenantId') STORED);
CREATE INDEX flows_namespace__id__revision ON flows (deleted, tenant_id, namespace, id, revision);
CREATE INDEX flows_fulltext ON flows USING gin (fulltext);
CREATE INDEX flows_source_code ON flows USING gin (fulltext_index(source_code));

CREATE TABLE flyway_schema_history (
    installed_rank int NOT NULL, version varchar(50), description varchar(200) NOT NULL, type varchar(20) NOT NULL,
    script varchar(1000) NOT NULL, checksum int, installed_by varchar(100) NOT NULL,
    installed_on timestamp NOT NULL DEFAULT now(), execution_time int NOT NULL, success bool NOT NULL,
    CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank));
CREATE INDEX flyway_schema_history_s_idx ON flyway_schema_history (success);

CREATE TABLE logs (
    key varchar(30) PRIMARY KEY, value jsonb NOT NULL,
    deleted bool NOT NULL GENERATED ALWAYS AS (CAST(value ->> 'deleted' AS bool)) STORED,
    namespace varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'namespace') STORED,
    flow_id varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'flowId') STORED,
    task_id varchar(150) GENERATED ALWAYS AS (value ->> 'taskId') STORED,
    execution_id varchar(150) GENERATED ALWAYS AS (value ->> 'executionId') STORED,
    taskrun_id varchar(150) GENERATED ALWAYS AS (value ->> 'taskRunId') STORED,
    attempt_number int GENERATED ALWAYS AS (CAST(value ->> 'attemptNumber' AS int)) STORED,
    trigger_id varchar(150) GENERATED ALWAYS AS (value ->> 'triggerId') STORED,
    level log_level NOT NULL GENERATED ALWAYS AS (loglevel_fromtext(value ->> 'level')) STORED,
    timestamp timestamptz NOT NULL GENERATED ALWAYS AS (parse_iso8601_datetime(value ->> 'timestamp')) STORED,
    tenant_id varchar(250) GENERATED ALWAYS AS (value ->> 'tenantId') STORED,
    fulltext tsvector GENERATED ALWAYS AS (
        fulltext_index(CAST(value ->> 'namespace' AS varchar)) || fulltext_index(CAST(value ->> 'flowId' AS varchar)) ||
        fulltext_index(coalesce(CAST(value ->> 'taskId' AS varchar), '')) ||
        fulltext_index(coalesce(CAST(value ->> 'executionId' AS varchar), '')) ||
        fulltext_index(coalesce(CAST(value ->> 'taskRunId' AS varchar), '')) ||
        fulltext_index(coalesce(CAST(value ->> 'triggerId' AS varchar), '')) ||
        fulltext_index(coalesce(CAST(value ->> 'message' AS varchar), '')) ||
        fulltext_index(coalesce(CAST(value ->> 'thread' AS varchar), ''))) STORED);
CREATE INDEX logs_execution_id__task_id ON logs (execution_id, task_id);
CREATE INDEX logs_execution_id__taskrun_id ON logs (execution_id, taskrun_id);
CREATE INDEX logs_namespace_flow ON logs (deleted, tenant_id, timestamp, level, namespace, flow_id);
CREATE INDEX logs_fulltext ON logs USING gin (fulltext);

CREATE TABLE metrics (
    key varchar(30) PRIMARY KEY, value jsonb NOT NULL,
    deleted bool NOT NULL GENERATED ALWAYS AS (CAST(value ->> 'deleted' AS bool)) STORED,
    namespace varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'namespace') STORED,
    flow_id varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'flowId') STORED,
    task_id varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'taskId') STORED,
    execution_id varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'executionId') STORED,
    taskrun_id varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'taskRunId') STORED,
    metric_name varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'name') STORED,
    timestamp timestamptz NOT NULL GENERATED ALWAYS AS (parse_iso8601_datetime(value ->> 'timestamp')) STORED,
    metric_value double precision NOT NULL GENERATED ALWAYS AS (CAST(value ->> 'value' AS double precision)) STORED,
    tenant_id varchar(250) GENERATED ALWAYS AS (value ->> 'tenantId') STORED);
CREATE INDEX metrics_flow_id ON metrics (deleted, tenant_id, namespace, flow_id);

CREATE TABLE multipleconditions (
    key varchar(250) PRIMARY KEY, value jsonb NOT NULL,
    namespace varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'namespace') STORED,
    flow_id varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'flowId') STORED,
    condition_id varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'conditionId') STORED,
    start_date timestamptz NOT NULL GENERATED ALWAYS AS (parse_iso8601_datetime(value ->> 'start')) STORED,
    end_date timestamptz NOT NULL GENERATED ALWAYS AS (parse_iso8601_datetime(value ->> 'end')) STORED,
    tenant_id varchar(250) GENERATED ALWAYS AS (value ->> 'tenantId') STORED);

CREATE TABLE queues (
    "offset" serial, type queue_type NOT NULL, key varchar(250) NOT NULL, value jsonb NOT NULL,
    updated timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    consumer_indexer bool DEFAULT false, consumer_executor bool DEFAULT false, consumer_worker bool DEFAULT false,
    consumer_scheduler bool DEFAULT false, consumer_flow_topology bool DEFAULT false, consumer_group varchar(250));
CREATE INDEX queues_type__offset ON queues (type, "offset");
CREATE INDEX queues_type__consumer_executor ON queues (type, consumer_executor, "offset") WHERE consumer_executor = false;
CREATE INDEX queues_updated ON queues (updated);
CREATE TRIGGER queues_updated BEFORE UPDATE ON queues FOR EACH ROW EXECUTE FUNCTION update_updated_datetime();

CREATE TABLE service_instance (
    key varchar(250) PRIMARY KEY, value jsonb NOT NULL,
    service_id varchar(36) NOT NULL GENERATED ALWAYS AS (value ->> 'id') STORED,
    service_type varchar(36) NOT NULL GENERATED ALWAYS AS (value ->> 'type') STORED,
    state varchar(36) NOT NULL GENERATED ALWAYS AS (value ->> 'state') STORED,
    created_at timestamptz NOT NULL GENERATED ALWAYS AS (parse_iso8601_datetime(value ->> 'createdAt')) STORED,
    updated_at timestamptz NOT NULL GENERATED ALWAYS AS (parse_iso8601_datetime(value ->> 'updatedAt')) STORED);

CREATE TABLE settings (key varchar(250) PRIMARY KEY, value jsonb NOT NULL);

CREATE TABLE sla_monitor (
    key varchar(250) PRIMARY KEY, value jsonb NOT NULL,
    execution_id varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'executionId') STORED,
    sla_id varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'slaId') STORED,
    deadline timestamptz NOT NULL GENERATED ALWAYS AS (parse_iso8601_datetime(value ->> 'deadline')) STORED);
CREATE TABLE subflow_executions (key varchar(250) PRIMARY KEY, value jsonb NOT NULL);

CREATE TABLE templates (
    key varchar(250) PRIMARY KEY, value jsonb NOT NULL,
    deleted bool NOT NULL GENERATED ALWAYS AS (CAST(value ->> 'deleted' AS bool)) STORED,
    id varchar(100) NOT NULL GENERATED ALWAYS AS (value ->> 'id') STORED,
    namespace varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'namespace') STORED,
    fulltext tsvector GENERATED ALWAYS AS (
        fulltext_index(CAST(value ->> 'namespace' AS varchar)) || fulltext_index(CAST(value ->> 'id' AS varchar))) STORED,
    tenant_id varchar(250) GENERATED ALWAYS AS (value ->> 'tenantId') STORED);

CREATE TABLE triggers (
    key varchar(250) PRIMARY KEY, value jsonb NOT NULL,
    namespace varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'namespace') STORED,
    flow_id varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'flowId') STORED,
    trigger_id varchar(150) NOT NULL GENERATED ALWAYS AS (value ->> 'triggerId') STORED,
    execution_id varchar(150) GENERATED ALWAYS AS (value ->> 'executionId') STORED,
    fulltext tsvector GENERATED ALWAYS AS (
        fulltext_index(CAST(value ->> 'namespace' AS varchar)) || fulltext_index(CAST(value ->> 'flowId' AS varchar)) ||
        fulltext_index(CAST(value ->> 'triggerId' AS varchar))) STORED,
    tenant_id varchar(250) GENERATED ALWAYS AS (value ->> 'tenantId') STORED,
    next_execution_date timestamptz GENERATED ALWAYS AS (parse_iso8601_datetime(value ->> 'nextExecutionDate')) STORED,
    worker_id varchar(250) GENERATED ALWAYS AS (value ->> 'workerId') STORED);

CREATE TABLE worker_job_running (
    key varchar(250) PRIMARY KEY, value jsonb NOT NULL,
    worker_uuid varchar(36) NOT NULL GENERATED ALWAYS AS (value #>> '{workerInstance,workerUuid}') STORED);
