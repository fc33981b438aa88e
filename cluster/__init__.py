"""A real cluster for the workshop's scripts, and faults for it: `make cluster`. For maintainers. One job a module:

parts     processes that are started again when they end
postgres  the database
server    the Temporal server as four processes: frontend, history, matching, worker
network   network namespaces for the workers
assembly  all of these, put together and taken down
faults    what can go wrong, and how it is done
rollout   a rollout by the workshop's client, and the faults meanwhile
progress  what the workers' logs say of the hosts, and what a fault cost them
verdict   what must be true of a rollout at its end, by its histories
"""
