-- Which tables need a policy before the autoscaler's role sees their rows.
--
-- Where a table has row-level security (Supabase switches it on for the schema `public`), a role
-- without a policy sees an empty table and no error. The autoscaler does not count on such a table:
-- a hidden job table makes the queue unknown, a hidden registry forbids every scale-in. Run this
-- check as the owner, after role.sql and after a migration that touches policies. Each row says
-- what is needed: `nothing`, or one statement to run as the owner of the table. A policy is enough;
-- BYPASSRLS, which only a superuser can give, is not needed.

WITH role AS (
    SELECT * FROM pg_roles WHERE rolname = 'fleet_reader'
), policy AS (
    SELECT p.*, coalesce(pg_get_expr(p.polqual, p.polrelid), '') AS shows
      FROM pg_policy p, role r
     WHERE p.polcmd IN ('r', '*')
       AND EXISTS (SELECT FROM unnest(p.polroles) AS member (id)
                    WHERE id = 0 OR pg_has_role(r.oid, id, 'USAGE'))
)
SELECT c.oid::regclass AS table_name,
       CASE
           WHEN NOT c.relrowsecurity THEN 'nothing: no row-level security'
           WHEN r.rolsuper OR r.rolbypassrls THEN 'nothing: the role bypasses row-level security'
           WHEN pg_has_role(r.oid, c.relowner, 'USAGE') AND NOT c.relforcerowsecurity
               THEN 'nothing: the role owns the table'
           WHEN EXISTS (SELECT FROM policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive
                                               AND p.shows NOT IN ('', 'true'))
               THEN format('DROP POLICY %I ON %s; -- or TO other roles: it is restrictive',
                           (SELECT min(p.polname) FROM policy p
                             WHERE p.polrelid = c.oid AND NOT p.polpermissive
                               AND p.shows NOT IN ('', 'true')), c.oid::regclass)
           WHEN EXISTS (SELECT FROM policy p WHERE p.polrelid = c.oid AND p.polpermissive
                                               AND p.shows = 'true')
               THEN 'nothing: a policy shows the role every row'
           ELSE format('CREATE POLICY fleet_reads ON %s FOR SELECT TO %I USING (true);',
                       c.oid::regclass, r.rolname)
       END AS needed
  FROM role r CROSS JOIN pg_class c
 WHERE c.oid IN (to_regclass('pgboss.version'), to_regclass('pgboss.job'),
                 to_regclass('pgboss.queue'), to_regclass('pgboss.archive'),
                 to_regclass('public.gh_worker_registry'),
                 to_regclass('public.gh_automation_jobs'))
 ORDER BY 1;
