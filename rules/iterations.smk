"""What an iteration starts from, samples and is trained on, by the name of the policy that it makes."""


def recipe_of(trained):
    """The recipe of a trained policy; the warm-up's pairs are logged on both sides."""
    if trained == "warmup":
        return {"prompts": "corrections", "chosen": "logged", "rejected": "logged", "rank": None}
    method, _ = iteration_of(trained)
    return config["recipes"][method]


def previous(trained):
    """The policy that this one is trained from and sampled from."""
    if trained == "warmup":
        return "base"
    method, k = iteration_of(trained)
    return f"{method}/iter{k - 1}" if k > 1 else config["recipes"][method]["start"]


def samples_of(trained):
    """How many replies of each kind (plain, guided) a prompt of a policy's pairs is sampled; none where both sides are logged."""
    recipe = recipe_of(trained)
    if recipe["rank"]:
        return {kind: recipe["candidates"].count(kind) for kind in sorted(set(recipe["candidates"]))}
    return {kind: config["sampling"]["n"] for kind in sorted({recipe["chosen"], recipe["rejected"]} - {"logged"})}


def sampled_inputs(wildcards):
    """The requests and completions behind a policy's pairs; none where both sides are logged."""
    if not samples_of(wildcards.trained):
        return {"requests": [], "completions": []}
    folder = f"{RESULTS}/{wildcards.model}/{wildcards.trained}"
    return {"requests": f"{folder}/requests.parquet", "completions": shards(folder, config["sampling"]["shards"])}


def ranks_of(wildcards):
    """How the candidates of an iteration rank: by a reward model, or as a judge scores them; nothing where none are ranked."""
    ranker = recipe_of(wildcards.trained)["rank"]
    if ranker is None:
        return []
    name = "rewards" if ranker in config["reward_models"] else "scores"
    return f"{RESULTS}/{wildcards.model}/{wildcards.trained}/rank/{name}.parquet"


def initial(trained):
    """The policy that a method starts from; the base model for the warm-up."""
    return "base" if trained == "warmup" else config["recipes"][iteration_of(trained)[0]]["start"]


def reference(trained):
    """The policy that is the reference in training."""
    return previous(trained) if config["training"]["reference"] == "previous" else initial(trained)


def ancestors(trained):
    """A policy, the one that its iteration started from, and the one that its method started from."""
    return [trained, previous(trained), initial(trained)]


def replayed(trained):
    """Pairs of earlier iterations that are trained on again, the nearest iteration first."""
    if trained == "warmup":
        return []
    method, k = iteration_of(trained)
    iterations = range(k - 1, max(0, k - 1 - config["recipes"][method]["replay"]), -1)
    return [f"{RESULTS}/{{model}}/{method}/iter{earlier}/pairs.parquet" for earlier in iterations]


def training_run(resources):
    """How a training runs here, which changes no result: its knobs, devices, and the minutes that its job has."""
    run = {key: config["training"][key] for key in TRAINING_RUN}
    run["processes"] = run["processes"] or gpus(resources)
    batch, at_once = config["training"]["global_batch"], config["training"]["device_batch"] * (run["processes"] or 1)
    if batch % at_once:
        raise WorkflowError(
            f"training.global_batch {batch} is no multiple of device_batch {config['training']['device_batch']} x {run['processes']} "
            "GPUs of `train`; change one of the three"
        )
    return settings(deadline=resources.get("runtime"), **run)


# How a training runs here changes no result; its epochs and its reference are given to each training by name, and what is
# measured of it afterwards is another rule's.
TRAINING_RUN = {"checkpoint_steps", "gradient_checkpointing", "launcher", "processes", "tracker"}
TRAINING = set(config["training"]) - TRAINING_RUN - {"epochs", "warmup_epochs", "reference", "diagnostics"}
