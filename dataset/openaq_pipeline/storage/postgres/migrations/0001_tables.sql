-- What is known of the locations and their sensors, and up to which files the database is.

CREATE TABLE openaq.locations (
    location_id    bigint PRIMARY KEY,
    name           text,
    locality       text,
    timezone       text NOT NULL,
    country_code   text,
    country_name   text,
    latitude       double precision,
    longitude      double precision,
    provider       text,
    owner          text,
    is_mobile      boolean NOT NULL,
    is_monitor     boolean NOT NULL,
    licenses       jsonb NOT NULL,
    datetime_first timestamptz,
    datetime_last  timestamptz,
    fetched        timestamptz NOT NULL
);

CREATE TABLE openaq.sensors (
    sensors_id    bigint PRIMARY KEY,
    location_id   bigint NOT NULL REFERENCES openaq.locations,
    parameters_id integer NOT NULL,
    parameter     text NOT NULL,
    units         text NOT NULL,
    display_name  text
);
CREATE INDEX sensors_location_id ON openaq.sensors (location_id);

-- The watermark of this copy: a line says that the rows of this version of a file that count (those before `sealed_to`
-- in the history, those from it on in the live file; null: all are in the live file) are in the database. It is
-- written in the transaction that writes the rows. `part` is live, or year=2024 for a year of the history.
CREATE TABLE openaq.sync_marks (
    location_id bigint NOT NULL,
    part        text NOT NULL,
    size_bytes  bigint NOT NULL,
    mtime_ns    bigint NOT NULL,
    sealed_to   timestamptz,
    synced_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (location_id, part)
);
