-- A guard against an absent-minded DROP EXTENSION.

SELECT fa_protect();
SELECT fa_protect() AS again;
DROP EXTENSION fa_agents;
SELECT count(*) = (SELECT count(*) FROM fa_agent) AS agents FROM fa_protected;
DROP VIEW fa_protected;
-- rolled back, there was none
BEGIN;
SELECT fa_protect();
ROLLBACK;
SELECT to_regclass('fa_protected') IS NULL AS none;
BEGIN;
DROP EXTENSION fa_agents;
ROLLBACK;
-- not for everybody, and not where nothing may be written
BEGIN TRANSACTION READ ONLY;
SELECT fa_protect();
ROLLBACK;
CREATE ROLE regress_fa_protect;
SET ROLE regress_fa_protect;
SELECT fa_protect();
RESET ROLE;
DROP ROLE regress_fa_protect;
