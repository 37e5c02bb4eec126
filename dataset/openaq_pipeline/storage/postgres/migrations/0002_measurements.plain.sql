-- The measurements, in the fields and the order of location_{id}.json. The months' partitions are made when the first row
-- of a month comes (partitions.py). No default partition: its rows would have to move when a month of theirs is made,
-- while everybody waits. Stamps outside the months below are OpenAQ's errors (there are some in the year 1).

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
) PARTITION BY RANGE (datetime);

CREATE TABLE openaq.measurements_before_1970 PARTITION OF openaq.measurements
    FOR VALUES FROM (MINVALUE) TO ('1970-01-01T00:00:00Z');
CREATE TABLE openaq.measurements_from_2100 PARTITION OF openaq.measurements
    FOR VALUES FROM ('2100-01-01T00:00:00Z') TO (MAXVALUE);
