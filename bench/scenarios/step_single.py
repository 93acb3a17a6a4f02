"""one fa_step a transaction, against a plain UPDATE of an equal row

pgbench, prepared, random agents of the 5x5 grid. The peer's row is a copy of the agent's, with the same columns, fill and
storage, and its UPDATE writes the same columns at the same width. It is given the cheapest way to come by them: constants of
the statement, one of four statements by chance, so that neighbouring versions of a row differ over their whole width.

row: against the same UPDATE that hands the client what a step does.
"""
from common import Bench, Goal

STATES = 25
STEP = """\\set id random(1, {agents})
\\set outcome random(0, {last})
SELECT * FROM fa_step(:id, ARRAY[:outcome]::int[]);
"""
UPDATE = """\\set id random(1, {agents})
UPDATE peer SET step = step + 1, vfe = {vfe}, action = '{{{action}}}', belief = '{{{belief}}}' WHERE agent_id = :id;
"""


def update_script(agents: int, which: int) -> str:
    belief = [2e-16 * (which + 1)] * STATES
    belief[which * 7] = 0.99 + which / 1000
    return UPDATE.format(agents=agents, vfe=0.1 * which, action=which, belief=",".join(map(repr, belief)))


# what a step returns
RETURNED = " RETURNING agent_id, step, action, vfe;"


def run(bench: Bench) -> None:
    agents = bench.size(10_000, 500)
    # many short rounds: what a commit takes changes from one second to the next
    seconds = 1
    bench.create_agents(agents)
    bench.copy_table("fa_belief", "peer")
    step = STEP.format(agents=agents, last=STATES - 1)
    updates = [update_script(agents, which) for which in range(4)]
    returning = [update.rstrip().removesuffix(";") + RETURNED for update in updates]
    # the first write of a page and of a row that never acted differ from all later ones
    bench.execute("SELECT count(*) FROM fa_step_many((SELECT array_agg(agent_id) FROM fa_agent))")
    bench.execute("UPDATE peer SET action = '{0}', vfe = 0")
    bench.settle("fa_belief", "peer")
    for commit in ("on", "off"):
        for clients in (1, 2, 8):
            settings = {"synchronous_commit": commit}
            ours, theirs, handed = bench.take_turns(bench.size(4, 1), [
                lambda script=script: bench.pgbench(script, clients, seconds, settings=settings)[0]
                for script in (step, updates, returning)])
            name = f"{clients}_client{'s' if clients > 1 else ''}/{'sync' if commit == 'on' else 'async'}"
            bench.report(name, ours, "steps/s", "higher", "plain UPDATE", theirs, Goal("ratio", ">=", 0.9))
            bench.report(f"{name}/row", ours, "steps/s", "higher", "UPDATE RETURNING", handed)
