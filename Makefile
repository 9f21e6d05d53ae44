# Every target is one line: what it does is in scripts/, which needs Python's standard library and nothing else.
PYTHON ?= python3
.DEFAULT_GOAL := help
.PHONY: up demo bench faults apps test test-celery brokers test-hosts-all test-ansible-oldest dist docs hosts hosts-down check down clean help

up: ## Set up what is missing, start the whole stack in containers, and run a real app's jobs in it
	$(PYTHON) scripts up

demo: ## Restart and kill workers and the broker under load, and count the jobs that were lost
	$(PYTHON) scripts demo

bench: ## Measure the kit beside stock Celery and other programs; BENCH=CELL measures one cell, BENCH=tuned those of sizes
	CELERYKIT_BENCH="$(BENCH)" $(PYTHON) scripts bench

faults: ## Kill, pause and cut off workers on Redis for half an hour, and count; FAULT=NAME does one
	CELERYKIT_FAULT="$(FAULT)" $(PYTHON) scripts faults

apps: ## Deploy well-known apps, restart and kill their workers under load, and count; APP=NAME does one
	CELERYKIT_REAL_APP="$(APP)" $(PYTHON) scripts apps

test: ## Prove it: all checks, the tests in containers, those on hosts; APP=FOLDER tests an app of your own
	CELERYKIT_TEST_APP="$(APP)" $(PYTHON) scripts test

test-celery: ## Prove each release of Celery that the kit is for: unit tests, those of the transport, and what jobs survive
	$(PYTHON) scripts test-celery

brokers: ## Try every broker and result backend there is a server for; prove the transport on each Redis and Valkey
	$(PYTHON) scripts brokers

test-hosts-all: ## Prove the playbook and the verbs on Debian 12 and 13 and each init system, with what make test leaves out
	$(PYTHON) scripts test-hosts-all

test-ansible-oldest: ## Prove that the oldest Ansible that the roles are for deploys an empty machine
	$(PYTHON) scripts test-ansible-oldest

dist: ## Build wheel, source archive, collection and images of this commit into dist, and try each
	$(PYTHON) scripts dist

docs: ## Build the site of the docs, which reads offline, and fail for a link that leads nowhere
	$(PYTHON) scripts docs

hosts: ## Two test hosts with systemd and ssh, deployed by site.yml, to play with; again after a change
	$(PYTHON) scripts hosts

hosts-down: ## Remove the test hosts with all that is on them
	$(PYTHON) scripts hosts-down

check: ## Lint, type check and unit tests, without a container
	$(PYTHON) scripts check

down: ## Stop and remove the stack's containers and networks; its volumes stay
	$(PYTHON) scripts down

clean: ## Remove everything the kit has made on this machine, volumes with jobs and passwords included
	$(PYTHON) scripts clean

help: ## List the targets
	$(PYTHON) scripts help
