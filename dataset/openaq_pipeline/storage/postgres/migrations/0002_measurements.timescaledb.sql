-- The measurements, in the fields and the order of location_{id}.json, as a hypertable with a chunk for each 30 days.

CREATE TABLE openaq.measurements (
    location_id      bigint NOT NULL,
    sensors_id       bigint NOT NULL,
    parameters_id    integer,
    parameter        text NOT NULL,
    units            text NOT NULL,
    value            double precision,
    datetime         timestamptz NOT NULL,
    datetime_local   text NOT NULL,
    interval_seconds integer,
    has_flags        boolean,
    issues           text[] NOT NULL,
    source           text NOT NULL,
    first_seen       timestamptz NOT NULL,
    PRIMARY KEY (sensors_id, datetime)
);

SELECT create_hypertable(
    'openaq.measurements', 'datetime', chunk_time_interval => INTERVAL '30 days', create_default_indexes => FALSE
);

-- What is older than 90 days hardly changes any more. Late rows and revisions go into compressed chunks as well.
ALTER TABLE openaq.measurements SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'sensors_id',
    timescaledb.compress_orderby = 'datetime'
);
SELECT add_compression_policy('openaq.measurements', INTERVAL '90 days');
