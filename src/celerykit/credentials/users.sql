-- The user of Celery and what it may do; PostgreSQL runs this at each start in a container, and at each deployment to a
-- host, one statement after the other.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'celery') THEN CREATE ROLE celery; END IF;
END $$;

ALTER ROLE celery LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '{{ verifier }}';

REVOKE ALL ON DATABASE celery, postgres, template1 FROM PUBLIC;

-- PGMQ wants to make its own schema.
GRANT CONNECT, CREATE ON DATABASE celery TO celery;

-- The first that its tables are looked for in, by its name.
CREATE SCHEMA IF NOT EXISTS celery AUTHORIZATION celery;
