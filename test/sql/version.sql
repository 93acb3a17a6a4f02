-- the library and the installed objects are of one version
SELECT fa_version() = extversion AS same_version
FROM pg_extension WHERE extname = 'fa_agents';
SELECT fa_version() ~ '^\d+\.\d+\.\d+$' AS well_formed;
