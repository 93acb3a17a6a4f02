/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  What differs between the major versions of PostgreSQL.
 *
 * Every test of PG_VERSION_NUM stands in this file.  Elsewhere the code is
 * written for the newest version, or asks with one of the PGnn_GE macros.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FA_COMPAT_H
#define FA_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "fa_agents needs PostgreSQL 15 or later"
#endif

#define PG16_GE (PG_VERSION_NUM >= 160000)
#define PG17_GE (PG_VERSION_NUM >= 170000)
#define PG18_GE (PG_VERSION_NUM >= 180000)

/* PostgreSQL 18 shows the name and version of a module to its users */
#if PG18_GE
#define FA_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "fa_agents", .version = FA_AGENTS_VERSION)
#else
#define FA_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* 18 marks functions that do not return before their type */
#if !PG18_GE
#define pg_noreturn _Noreturn
#endif

/* 16 tells indexes that only summarize (BRIN) from the others */
#if PG16_GE
#define UpdatedIndexes	 TU_UpdateIndexes
#define UPDATED_NO_INDEX TU_None
#define insert_index_tuples(indexes, slot, executor, updated)              \
	ExecInsertIndexTuples(indexes, slot, executor, true, false, NULL, NIL, \
						  (updated) == TU_Summarizing)
#define insert_new_index_tuples(indexes, slot, executor)                    \
	ExecInsertIndexTuples(indexes, slot, executor, false, false, NULL, NIL, \
						  false)
#else
#define UpdatedIndexes	 bool
#define UPDATED_NO_INDEX false
#define insert_index_tuples(indexes, slot, executor, updated) \
	ExecInsertIndexTuples(indexes, slot, executor, true, false, NULL, NIL)
#define insert_new_index_tuples(indexes, slot, executor) \
	ExecInsertIndexTuples(indexes, slot, executor, false, false, NULL, NIL)
#endif

/* 18 counts what an index scan does, for EXPLAIN; and has deferrable keys */
#if PG18_GE
#define begin_index_scan(table, index, snapshot, keys) \
	index_beginscan(table, index, snapshot, NULL, keys, 0)
#define primary_key_index(table) RelationGetPrimaryKeyIndex(table, false)
#else
#define begin_index_scan(table, index, snapshot, keys) \
	index_beginscan(table, index, snapshot, keys, 0)
#define primary_key_index(table) RelationGetPrimaryKeyIndex(table)
#endif

/* 16 asks for the owner of any object by one function */
#if PG16_GE
#define database_owned(database, user) \
	object_ownercheck(DatabaseRelationId, database, user)
#else
#define database_owned(database, user) pg_database_ownercheck(database, user)
#endif

/* 16 asks for rights on any object by one function, and may return errors */
#if PG16_GE
#define may_execute(function, user)                                       \
	(object_aclcheck(ProcedureRelationId, function, user, ACL_EXECUTE) == \
	 ACLCHECK_OK)
#define qualified_names(string) stringToQualifiedNameList(string, NULL)
#else
#define may_execute(function, user) \
	(pg_proc_aclcheck(function, user, ACL_EXECUTE) == ACLCHECK_OK)
#define qualified_names(string) stringToQualifiedNameList(string)
#endif

/* 16 has memory of its own for settings, which it frees */
#if PG16_GE
#define setting_malloc(size) guc_malloc(LOG, size)
#define setting_free(memory) guc_free(memory)
#else
#define setting_malloc(size) malloc(size)
#define setting_free(memory) free(memory)
#endif

/* 17 lets extensions name what they wait for */
#if PG17_GE
#define new_wait_event(name) WaitEventExtensionNew(name)
#else
#define new_wait_event(name) PG_WAIT_EXTENSION
#endif

/* 16 gave the setting that tests parallel queries another name */
#if PG16_GE
#define parallel_forced() (debug_parallel_query != DEBUG_PARALLEL_OFF)
#else
#define parallel_forced() (force_parallel_mode != FORCE_PARALLEL_OFF)
#endif

#endif /* FA_COMPAT_H */
