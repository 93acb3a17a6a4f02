/*
 * sensor.h
 *		Sensors and actuators: functions of users that stand in for a client.
 */
#ifndef FA_SENSOR_H
#define FA_SENSOR_H

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
	Oid		   function_owner; /* when it was named */
	bool	   at_once;		   /* called once, with arrays */
	int64	  *ids;			   /* [count] */
	int		   count;
} SensorUse;

extern SensorUse *
sensor_uses(const Call *call, const int64 *ids, int count, int *use_count);
extern void sensor_hold(const SensorUse *use);

#endif /* FA_SENSOR_H */
