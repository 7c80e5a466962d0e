-- What the catalogs say about the tables that are asked for ($2), those that are to stay ($3), both in
-- schema $1, and their parents and children, as one JSON document. $4 are the schemas in which the session looks
-- for a table, in order. What hangs on them is asked for
-- in hanging.sql. Names go in as values and come out quoted by the database. No table but the catalogs
-- is opened or locked.
WITH RECURSIVE
space AS (
  SELECT oid, nspname FROM pg_namespace WHERE nspname = $1
),
named AS (
  SELECT oid, relname::text AS name, relname = ANY ($2) AS asked
  FROM pg_class
  WHERE relname = ANY ($2 || $3) AND relnamespace = (SELECT oid FROM space)
),
below AS (
  SELECT oid FROM named WHERE asked
  UNION
  SELECT i.inhrelid
  FROM below b JOIN pg_inherits i ON i.inhparent = b.oid
),
above AS (
  SELECT oid FROM named WHERE asked
  UNION
  SELECT i.inhparent FROM above a JOIN pg_inherits i ON i.inhrelid = a.oid
),
family AS (
  SELECT oid FROM below UNION SELECT oid FROM above UNION SELECT oid FROM named
)
SELECT json_build_object(
  'schema', coalesce((SELECT quote_ident(nspname) FROM space), ''),
  'schemaExists', EXISTS (SELECT FROM space),
  'schemaUsable', coalesce((SELECT has_schema_privilege(oid, 'USAGE') FROM space), false),
  -- Tables of the session alone do not count: a pooler may hand over a session that has some. Nor do catalogs:
  -- no application means them.
  'elsewhere', coalesce((
    SELECT json_agg(json_build_object('name', a.name, 'schema', f.nspname) ORDER BY f.nspname, a.name)
    FROM unnest($2) AS a (name)
    CROSS JOIN LATERAL (
      SELECT s.nspname
      FROM unnest($4) WITH ORDINALITY AS p (schema, place)
      JOIN pg_namespace s ON s.nspname = p.schema AND s.nspname !~ '^pg_(temp_|catalog$)'
      JOIN pg_class c ON c.relnamespace = s.oid AND c.relname = a.name
      ORDER BY p.place LIMIT 1) AS f
    WHERE f.nspname <> $1), '[]'),
  'relations', coalesce((
    SELECT json_agg(json_build_object(
      'oid', c.oid::bigint,
      'name', format('%I.%I', s.nspname, c.relname),
      'asked', coalesce(n.asked, false),
      'kept', coalesce(NOT n.asked, false),
      'listedAs', n.name,
      'kind', c.relkind::text,
      'temporary', c.relpersistence = 't',
      'logged', c.relpersistence = 'p',
      'system', c.oid < 16384,
      'below', c.oid IN (SELECT oid FROM below),
      'partition', c.relispartition,
      'parents', coalesce((SELECT json_agg(i.inhparent::bigint ORDER BY i.inhseqno)
                           FROM pg_inherits i WHERE i.inhrelid = c.oid), '[]'),
      -- The column came with PostgreSQL 14.
      'detaching', EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid
                           AND (to_jsonb(i) ->> 'inhdetachpending')::boolean),
      'extension', (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
                      AND (d.classid, d.objid) IN (('pg_class'::regclass, c.oid), ('pg_namespace'::regclass, s.oid))
                    LIMIT 1),
      'mayTruncate', coalesce(has_table_privilege(c.oid, 'TRUNCATE'), false),
      -- An estimate: of the last VACUUM or ANALYZE, or, where none saw a page, of the statistics.
      'rows', CASE
        WHEN c.relkind <> 'r' THEN 0
        WHEN c.reltuples >= 0 AND c.relpages > 0 THEN c.reltuples::bigint
        ELSE coalesce(pg_stat_get_live_tuples(c.oid), 0) END
    ) ORDER BY c.oid)
    FROM family f
    JOIN pg_class c ON c.oid = f.oid
    JOIN pg_namespace s ON s.oid = c.relnamespace
    LEFT JOIN named n ON n.oid = c.oid), '[]')
)::text
