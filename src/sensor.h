/*
 * sensor.h
 *		Sensors and actuators: functions of users that stand in for a client.
 */
#ifndef FA_SENSOR_H
#define FA_SENSOR_H

#include "utils/tuplestore.h"

#include "fa_agents.h"

typedef enum SensorKind
{
	KIND_SENSOR,
	KIND_ACTUATOR
} SensorKind;

/* A function, and which agents of a batch it is for. */
typedef struct SensorUse
{
	SensorKind kind;
	Oid		   owner;		   /* of the agents; as whom it is to run */
	char	  *name;		   /* of the function, qualified and quoted */
	Oid		   function;	   /* what that was, since sensor_hold */
	Oid		   function_owner; /* when it was named */
	bool	   at_once;		   /* called once, with arrays */
	int64	  *ids;			   /* [count] */
	int		   count;
} SensorUse;

extern SensorUse *
sensor_uses(const Call *call, const int64 *ids, int count, int *use_count);
extern void sensor_hold(SensorUse *use);
extern int	sensor_arguments(const SensorUse *use, const Oid **types);

/* ---------- outside.c: code of users ---------- */

/* Who we were before code of a user was called. */
typedef struct Outside
{
	Oid user;
	int security;
} Outside;

typedef struct OutsideFunction OutsideFunction;

extern void				outside_begin(const Call *call, Outside *outside);
extern void				outside_end(const Outside *outside);
extern OutsideFunction *outside_function(const SensorUse *use);
extern Datum
outside_call(OutsideFunction *function, const Datum *arguments, bool *isnull);
extern Tuplestorestate *outside_rows(OutsideFunction *function,
									 const Datum *arguments, TupleDesc columns);
extern void				outside_done(OutsideFunction *function);
extern void				outside_check_constraints(const Call *call);

#endif /* FA_SENSOR_H */
