# The directory storage/ kept in a store: `make storage-push` sends it, `make storage-pull` fetches it.
#
# STORE is a store of the configuration. Without one called `naas` there, NAAS_API_KEY with NAAS_WORKSPACE_ID and
# NAAS_STORAGE_NAME, or with a config.yaml that names both, makes it. What is gone on the other side is removed into a
# trash, and never more than half of what is there; SYNC takes further options, as in: make storage-push SYNC=--dry-run

STORE ?= naas
STORAGE ?= storage
SYNC ?=
HOLDFAST ?= $(dir $(lastword $(MAKEFILE_LIST)))scripts/holdfast

.PHONY: storage-push storage-pull

storage-push:
	@$(HOLDFAST) push $(STORAGE) store:$(STORE)/storage --delete $(SYNC)

storage-pull:
	@$(HOLDFAST) pull store:$(STORE)/storage $(STORAGE) --delete $(SYNC)
