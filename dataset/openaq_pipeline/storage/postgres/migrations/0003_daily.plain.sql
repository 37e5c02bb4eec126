-- Daily figures of each series, by the UTC day of the stamp. A view: it is computed when it is asked.

CREATE VIEW openaq.measurements_daily AS
SELECT
    location_id,
    sensors_id,
    parameter,
    units,
    date_trunc('day', datetime, 'UTC') AS day,
    avg(value) AS mean,
    min(value) AS minimum,
    max(value) AS maximum,
    count(value) AS values,
    count(*) AS rows,
    count(*) FILTER (WHERE cardinality(issues) > 0) AS rows_with_issues
FROM openaq.measurements
GROUP BY location_id, sensors_id, parameter, units, date_trunc('day', datetime, 'UTC');
