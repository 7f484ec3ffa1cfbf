-- The sample shop. Everything follows from row numbers and the seed; no clock and no random().
SET autoinstall_known_extensions = false;
SET memory_limit = '1GB';
SET TimeZone = 'UTC';

-- 0 to n - 1, by row and purpose.
CREATE TEMP MACRO dice(row_no, purpose, n) AS CAST(hash(row_no, {seed}, purpose) % n AS BIGINT);
CREATE TEMP MACRO pick(row_no, purpose, choices) AS choices[1 + dice(row_no, purpose, len(choices))];

CREATE TABLE customers AS
SELECT
  id,
  CASE WHEN mail = 0 THEN NULL
       WHEN mail = 1 THEN upper(first_name) || '.' || last_name || id || '@Example.com '
       ELSE lower(first_name || '.' || last_name) || id || '@example.com' END AS email,
  first_name,
  last_name,
  pick(id, 'city', ['Amsterdam', 'Berlin', 'Lisbon', 'London', 'Lyon', 'Madrid', 'Oslo', 'Porto', 'Prague', 'Rome', 'Vienna', 'Zürich']) AS city,
  pick(id, 'plan', ['free', 'free', 'free', 'free', 'free', 'free', 'pro', 'pro', 'team', NULL]) AS plan,
  CAST(dice(id, 'ltv', 500000) / 100 AS DECIMAL(12, 2)) AS ltv,
  CAST(dice(id, 'visits', 400) AS INTEGER) AS visits,
  dice(id, 'active', 4) > 0 AS active,
  TIMESTAMP '2024-01-01' + to_microseconds(dice(id, 'updated', 63072000000000)) AS updated_at,
  CAST(1 + id // 10000 AS INTEGER) AS etl_batch
FROM (
  SELECT
    i AS id,
    dice(i, 'mail', 50) AS mail,
    pick(i, 'first', ['Ada', 'Ana', 'Ben', 'Clara', 'David', 'Elena', 'Finn', 'Grace', 'Hugo', 'Ines', 'Jonas', 'Kira', 'Liam', 'Mara', 'Nils', 'Olga', 'Paul', 'Rosa', 'Sami', 'Tilda']) AS first_name,
    pick(i, 'last', ['Almeida', 'Bauer', 'Costa', 'Dubois', 'Eriksen', 'Fischer', 'Garcia', 'Hansen', 'Ivanov', 'Jansen', 'Keller', 'Lopez', 'Moreau', 'Novak', 'Olsen', 'Pereira', 'Rossi', 'Silva', 'Tanaka', 'Weber']) AS last_name
  FROM range(1, {customers} + 1) AS r(i)
);

-- Ten rows of history are four orders with one, two, three and four versions.
CREATE TABLE order_history AS
SELECT
  order_id,
  version,
  1 + dice(order_id, 'customer', {customers}) AS customer_id,
  ['placed', 'paid', 'shipped', 'returned'][version] AS status,
  CAST((100 + dice(order_id, 'total', 50000)) / 100 AS DECIMAL(12, 2)) AS total,
  pick(order_id, 'currency', ['EUR', 'EUR', 'EUR', 'GBP', 'CHF', 'NOK']) AS currency,
  loaded_at - to_milliseconds(1000 + dice(order_id, 'placed', 600000)) AS placed_at,
  'https://shop.example.com/' || pick(order_id, 'page', ['', 'sale', 'new', 'gifts']) || '?utm_campaign=c' || dice(order_id, 'campaign', 40) AS landing_url,
  CAST('{"items":' || (1 + dice(order_id, 'items', 5)) || ',"channel":"' || pick(order_id, 'channel', ['web', 'app', 'store'])
    || '","gift":' || CASE WHEN dice(order_id, 'gift', 8) = 0 THEN 'true' ELSE 'false' END || '}' AS JSON) AS props,
  loaded_at
FROM (
  SELECT
    (i // 10) * 4 + CASE WHEN i % 10 = 0 THEN 1 WHEN i % 10 < 3 THEN 2 WHEN i % 10 < 6 THEN 3 ELSE 4 END AS order_id,
    CAST(CASE WHEN i % 10 = 0 THEN 1 WHEN i % 10 < 3 THEN i % 10 WHEN i % 10 < 6 THEN i % 10 - 2 ELSE i % 10 - 5 END AS INTEGER) AS version,
    TIMESTAMP '2024-01-01' + to_microseconds(i * (63072000000000 // {orders})) AS loaded_at
  FROM range(0, {orders}) AS r(i)
);

CHECKPOINT;
