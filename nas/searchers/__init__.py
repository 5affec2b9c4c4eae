"""Searchers: propose genomes, hear what they are worth, propose better ones. Adding one is a file and a line here."""

SEARCHERS = {
    "random": "nas.searchers.random:RandomSearch",
    "nsga2": "nas.searchers.nsga2:NSGA2",
    "regularised": "nas.searchers.regularised:RegularisedEvolution",
    "local": "nas.searchers.local:LocalSearch",
    "predictor": "nas.searchers.predictor:Predictor",
    "joint": "nas.searchers.joint:Joint",
    "optuna_tpe": "nas.searchers.optuna:TPE",
    "optuna_nsga3": "nas.searchers.optuna:NSGA3",
}
