-- Daily figures of each series, by the UTC day of the stamp: a continuous aggregate, brought up to date every hour. What
-- it does not hold yet is computed when it is asked.

CREATE MATERIALIZED VIEW openaq.measurements_daily
WITH (timescaledb.continuous, timescaledb.materialized_only = FALSE) AS
SELECT
    location_id,
    sensors_id,
    parameter,
    units,
    time_bucket(INTERVAL '1 day', datetime) AS day,
    avg(value) AS mean,
    min(value) AS minimum,
    max(value) AS maximum,
    count(value) AS values,
    count(*) AS rows,
    count(*) FILTER (WHERE cardinality(issues) > 0) AS rows_with_issues
FROM openaq.measurements
GROUP BY location_id, sensors_id, parameter, units, time_bucket(INTERVAL '1 day', datetime)
WITH NO DATA;

SELECT add_continuous_aggregate_policy(
    'openaq.measurements_daily',
    start_offset => NULL,
    end_offset => INTERVAL '1 day',
    schedule_interval => INTERVAL '1 hour'
);
