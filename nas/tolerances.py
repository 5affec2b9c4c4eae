"""Every tolerance the project is held to, in one place, each with the reason for its size."""

#: Masked supernet against extracted network, absolute on logits: float32 sums in another order, over ~100 layers.
MASK_TO_EXTRACTED = 1e-4

#: Exported artefact against JAX, relative to the largest logit: other kernels, other fusion, still float32.
ARTEFACT_RELATIVE = 1e-3

#: Largest share of samples whose predicted class may change on export: these are ties, not errors.
TOP1_DISAGREEMENT_SHARE = 1e-3

#: One-sided confidence with which a measured median must lie within the budget before a network is called a winner.
KEPT_LEVEL = 0.95

#: Fewest interleaved blocks of readings behind such a median: fewer cannot tell drift from the network itself.
KEPT_BLOCKS = 3

#: Relative standard deviation between measurements of one network minutes apart, beside what shows within each of them:
#: where memory lies warm, what the clock does, what a shared machine does slower than a measurement takes. Measured on
#: two shared vCPUs, of medians of calls and of means over streams; a mean feels every slow sample.
REPEATABILITY = {"median": 0.012, "mean": 0.020}

#: Wall over CPU time, on one thread, above which somebody else was using the core and a reading is repeated.
CONTENDED_WALL_TO_CPU = 1.10

#: The same for a mean over many readings, each with its own CPU time: what single ones waited all adds up there.
CONTENDED_MEAN = 1.03

#: Relative move of the reference network around a block above which the machine was not the same; it is repeated.
REFERENCE_DRIFT = 0.05

#: A probe's time over that on an undisturbed core, up to which a reading beside it counts; sharing costs more.
QUIET_PROBE = 1.15

#: Smallest share of a block's readings that must have been undisturbed; a block with fewer is taken again.
QUIET_SHARE = 0.5

#: The same beside single calls, where a probe comes right after a call, or a rest, and not in a loop: without anybody
#: else it takes up to 20 % longer than at its best in calls in a row, and 35 % at a duty cycle, by what is left in the
#: caches. Measured on two vCPUs: beside somebody busy on the core's other thread 1.6 times as long and more.
SINGLE_PROBE = 1.50

#: Largest share of a block's single calls beside which the core may have been shared: about what the 95th percentile
#: of calls can bear.
SINGLE_QUIET_SHARE = 0.05

#: Largest time for which the process of single calls may have waited for a core, by the kernel's count, as a share of
#: the calls', or of 0.1 s where they take less. Measured on two vCPUs, 334 calls of 75 us: up to 0.25 ms in blocks
#: whose slowest call was the usual one, and 2 ms and more, a scheduler's slice, in all others.
SINGLE_WAITED_SHARE = 0.005

#: Largest share of a block's time, of one core, that a virtual machine's host may have given to others. The kernel
#: counts in ticks of 10 ms, of all cores: a short block's tick is a large share, a long block's is not.
SINGLE_STOLEN_SHARE = 0.02
