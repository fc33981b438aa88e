# make demo   one full patch on a real Temporal server
# make test   lint, types, all tests
# make smoke  lint, types, the tests that another Python or SDK would break first
# make soak   hundreds of crashes, for maintainers: make soak SOAK='--faults 500 --seed 7'
# make cluster  a rollout on a real cluster with PostgreSQL, of which everything is killed once, for maintainers
# Another Python: make demo PYTHON=python3.13
# Without a network: make demo KIT=workshop-kit-linux-x86_64.zip, which `python workshop.py kit` makes elsewhere
PYTHON ?= python3
INSTALL = --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
# Each process gets the next test when it is done with one: most of their time goes into waiting for real timeouts.
SIDE_BY_SIDE = --numprocesses=5 --timeout=300
SMOKE = tests/test_versions.py tests/test_replay.py tests/test_messages.py tests/test_workshop.py tests/test_pages.py

.PHONY: demo test smoke static soak cluster
demo: .venv/ready
	@.venv/bin/python workshop.py demo

test: static
	.venv/bin/python -m tests.prometheus
	.venv/bin/python -m tests.faults
	.venv/bin/python -m tests.browser
	.venv/bin/pytest $(SIDE_BY_SIDE)

smoke: static
	.venv/bin/pytest $(SIDE_BY_SIDE) $(SMOKE)

static: .venv/ready
	.venv/bin/python temporal_server.py --find-cli
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy .

soak: .venv/ready
	.venv/bin/python -m tests.faults
	.venv/bin/python -m tests.soak $(SOAK)

cluster: .venv/ready
	@.venv/bin/python -m cluster $(CLUSTER)

# What is set for pip elsewhere must not lead it out of .venv.
export PIP_USER = 0
unexport PIP_TARGET PIP_PREFIX PIP_ROOT

# An environment knows the folder that it was made in. In another one it is made anew.
ifneq "$(shell cat .venv/ready 2>/dev/null)" "$(CURDIR)"
.PHONY: .venv/ready
endif
# A kit brings the server's program too, which an environment that is there may lack.
ifeq "$(if $(KIT),$(wildcard .cache/download/temporal-kit),-)" ""
.PHONY: .venv/ready
endif
.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer, please: make PYTHON=python3.12" if sys.version_info < (3, 10) else 0)'
ifneq "$(KIT)" ""
	@$(PYTHON) -m support.kit "$(KIT)" $(INSTALL)
else
	@echo "Making the Python environment in .venv (once, half a minute) ..."
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/python -m pip install $(INSTALL) \
		2> .venv/pip.log || { echo "pip says: $$(sed -n 's/^ *ERROR: //p' .venv/pip.log | tail -n 1 | sed 's/[.]$$//')." \
		"All of it: .venv/pip.log. Without a network: docs/troubleshooting.md, Without a network"; exit 1; }
endif
	@pwd -P > $@
