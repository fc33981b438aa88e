"""What rollouts cost, from fifteen hosts to ten thousand:  python -m benchmarks

__main__   which cases are measured; the table, the file and the plots of a run
measure    runs one rollout by the scripts that learners run, and watches server and worker
histories  what the server's histories say of it
plots      draws the figures
"""
