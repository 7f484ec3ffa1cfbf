package protocol

// Rule is a rule of the protocol that a World may break.
type Rule int

// The rules.
const (
	None Rule = iota
	FenceBeforeLease
	FenceBeforeClose
	FenceReplaced
	FenceInCommit
	FoldFence
	FindLostBatches
	RaiseEpoch
	RefuseOldEpochs
	RecountBelowFence
	ClosedLowEdge
	ClosedHighEdge
	ClosedBoundary
	KeepLookback
	WatermarkInSnapshot
	CheckpointAtClose
	AckAfterCommit
	AckRowsLast
	BatchKeyWithEffects
)

// Mutant is a rule that is broken on purpose, and the invariant that finds it out.
type Mutant struct {
	Name   string
	Broken Rule
	What   string
	Caught Invariant
	Costly bool // takes some seconds
}

// Mutants lists them.
func Mutants() []Mutant {
	return []Mutant{
		{Name: "fence-before-lease", Broken: FenceBeforeLease, What: "a part is leased again without a fence", Caught: NothingTwice, Costly: true},
		{Name: "fence-before-close", Broken: FenceBeforeClose, What: "a run is closed without fencing its parts", Caught: AccountIsTrue},
		{Name: "fence-replaced", Broken: FenceReplaced, What: "planning again does not wait for the fence of the parts that are replaced", Caught: NothingTwice, Costly: true},
		{Name: "fence-in-commit", Broken: FenceInCommit, What: "the store's commit does not look at the fence", Caught: NoEffectBelowFence},
		{Name: "fold-fence", Broken: FoldFence, What: "what a fence found applied does not enter the account", Caught: AccountIsTrue},
		{Name: "lost-batches", Broken: FindLostBatches, What: "nobody looks for batches that the broker lost", Caught: EveryRunEnds},
		{Name: "raise-epoch", Broken: RaiseEpoch, What: "a new lease keeps the epoch", Caught: OneWorkerAnEpoch},
		{Name: "old-epochs", Broken: RefuseOldEpochs, What: "the scheduler takes reports of an old epoch", Caught: AccountIsTrue},
		{Name: "recount", Broken: RecountBelowFence, What: "a row met again below the fence counts as unchanged", Caught: NothingTwice, Costly: true},
		{Name: "low-edge", Broken: ClosedLowEdge, What: "`>` for `>=` at the window's low edge", Caught: NothingLost},
		{Name: "high-edge", Broken: ClosedHighEdge, What: "`<` for `<=` at the window's high edge", Caught: NothingLost},
		{Name: "boundary", Broken: ClosedBoundary, What: "`>` for `>=` at the boundary between parts", Caught: NothingLost},
		{Name: "lookback", Broken: KeepLookback, What: "the lookback is dropped, and rows are committed late", Caught: NothingLost},
		{Name: "watermark", Broken: WatermarkInSnapshot, What: "the watermark is read outside the snapshot of the rows", Caught: CheckpointFollows},
		{Name: "checkpoint", Broken: CheckpointAtClose, What: "the checkpoint moves when the plan is stored", Caught: CheckpointFollows},
		{Name: "ack-before-commit", Broken: AckAfterCommit, What: "ingestion acks before it commits", Caught: AckMeansDurable},
		{Name: "ack-before-publish", Broken: AckRowsLast, What: "the mapper acks ROWS before RECORDS is durable", Caught: AckMeansDurable},
		{Name: "batch-key", Broken: BatchKeyWithEffects, What: "the batch key is written in a step of its own", Caught: AccountIsTrue},
	}
}
