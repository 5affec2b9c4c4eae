"""Searchers: propose genomes, hear what they are worth, propose better ones. Adding one is a file and a line here."""

SEARCHERS = {
    "random": "nas.searchers.random:RandomSearch",
    "nsga2": "nas.searchers.nsga2:NSGA2",
}
