package mutants_test

// mutant is a defect that is put into the source, and the test that must fail of it.
type mutant struct {
	name   string
	breaks string
	file   string
	edits  []edit
	// catch is the package of the test, and its name as -run takes it.
	catch, test string
	short       bool // runs with -short too
}

// edit replaces a text that stands exactly once in the file.
type edit struct{ from, to string }

func one(from, to string) []edit { return []edit{{from, to}} }

// table has every mutant, in the order of the data's way.
func table() []mutant {
	return []mutant{
		{
			name: "source-low-edge", breaks: "`>` for `>=` at the low edge of what a part reads",
			file: "pkg/source/postgres/read.go", edits: one(`{r.Low, ">=", "millrace.low"}`, `{r.Low, ">", "millrace.low"}`),
			catch: "pkg/source/postgres", test: "TestConformance/Ranges",
		},
		{
			name: "window-boundary", breaks: "a plan drops the cut at the window's high edge: `>=` for `>`",
			file: "pkg/window/window.go", edits: one("b.Compare(high) > 0", "b.Compare(high) >= 0"),
			catch: "pkg/window", test: "TestCut", short: true,
		},
		{
			name: "window-lookback", breaks: "the lookback is not taken off the checkpoint",
			file: "pkg/window/window.go", edits: one("low = a.Back(low, b.Lookback)", "low = a.Back(low, 0)"),
			catch: "pkg/window", test: "TestWindows",
		},
		{
			name: "window-backwards", breaks: "the watermark goes back where the source's largest value does",
			file: "pkg/window/window.go", edits: one("(b.Checkpoint.IsZero() || b.Checkpoint.Compare(w.High) <= 0)", "true"),
			catch: "pkg/window", test: "TestWindows",
		},
		{
			name: "extractor-drops", breaks: "the extractor drops the first row of each batch of the source",
			file: "services/extractor/gather.go", edits: one("from, each := int64(0),", "from, each := int64(1),"),
			catch: "services/extractor", test: "TestEachRowIsGatheredOnce",
		},
		{
			name: "extractor-repeats", breaks: "the extractor repeats the row at which it cuts",
			file: "services/extractor/gather.go", edits: one("from = to\n", "from = max(from+1, min(to, b.NumRows()-1))\n"),
			catch: "services/extractor", test: "TestEachRowIsGatheredOnce",
		},
		{
			name: "extractor-cut", breaks: "a batch above the payload cap loses a row where it is halved",
			file: "services/extractor/send.go", edits: one("b.Record.NewSlice(n/2, n)", "b.Record.NewSlice(n/2+1, n)"),
			catch: "services/extractor", test: "TestEachRowOfABatchAboveTheCapIsSentOnce",
		},
		{
			name: "wire-checksum", breaks: "an envelope's checksum is not compared",
			file: "pkg/wire/wire.go", edits: one("!= xxh3.Hash(data[headLength:])", "!= binary.BigEndian.Uint64(data[4:])+0*xxh3.Hash(nil)"),
			catch: "pkg/wire", test: "TestOneFlippedBitAnywhereIsNoticed", short: true,
		},
		{
			name: "wire-verify", breaks: "Arrow's metadata is taken at its word",
			file: "pkg/wire/ipc.go", edits: one("if err := verify(b, max); err != nil {", "if err := error(nil); err != nil {"),
			catch: "pkg/wire", test: "TestSchemasAreBounded",
		},
		{
			name: "bus-ack-first", breaks: "a message is acked before its handler is done",
			file: "pkg/bus/consume.go", edits: one("err = c.untilJudged(soft, hard, d)\n", "_ = msg.Ack()\n\terr = c.untilJudged(soft, hard, d)\n"),
			catch: "pkg/bus", test: "TestAMessageStaysOnItsStreamUntilItsHandlerIsDone",
		},
		{
			name: "mapper-drops", breaks: "the mapper drops a row behind the decoder",
			file: "services/mapper/worker.go",
			edits: one("batch, tally := program.ApplyUntil(rows, w.settings.until(o.SnapshotTime))\n",
				"rows.Record = rows.Record.NewSlice(min(1, rows.Record.NumRows()), rows.Record.NumRows())\n\tbatch, tally := program.ApplyUntil(rows, w.settings.until(o.SnapshotTime))\n"),
			catch: "services/mapper", test: "TestRowsBecomeRecordsAndRejectsOfTheSameBatch",
		},
		{
			name: "mapper-repeats", breaks: "the mapper repeats the row at which it cuts fragments",
			file: "services/mapper/fragments.go", edits: one("c.cut(at, min(at+step, to))", "c.cut(max(at-1, from), min(at+step, to))"),
			catch: "services/mapper", test: "TestABatchThatGrowsTenfoldArrivesInFragments",
		},
		{
			name: "mapper-swaps", breaks: "row key and row hash change places",
			file: "pkg/mapping/apply.go",
			edits: []edit{
				{"cols[record.PosKey] = k.filter(system[0])", "cols[record.PosKey] = k.filter(system[1])"},
				{"cols[record.PosHash] = k.filter(system[1])", "cols[record.PosHash] = k.filter(system[0])"},
			},
			catch: "pkg/mapping", test: "TestEachRecordKeepsTheKeyAndTheHashOfItsRow",
		},
		{
			name: "decide-drops", breaks: "the last row of a batch is not decided on",
			file: "pkg/profile/decide.go", edits: one("for i := range d.n {\n\t\tif b.Absent", "for i := range max(d.n-1, 0) {\n\t\tif b.Absent"),
			catch: "pkg/profile", test: "TestDigestIsOverAllRows", short: true,
		},
		{
			name: "decide-repeats", breaks: "each row is decided on twice",
			file: "pkg/profile/decide.go", edits: one("\t\t\td.row(i)\n", "\t\t\td.row(i)\n\t\t\td.row(i)\n"),
			catch: "pkg/profile", test: "TestDigestIsOverAllRows",
		},
		{
			name: "decide-recount", breaks: "a row that meets an entry below its fence counts as unchanged",
			file: "pkg/profile/decide.go", edits: one("if e.Epoch >= d.st.Fences[", "if e.Epoch >= 0*d.st.Fences["),
			catch: "pkg/profile", test: "TestReadAgainCountsTheSame",
		},
		{
			name: "decide-forgets", breaks: "a row of a key that repeats does not say that this run has read it, where it is what it was",
			file: "pkg/profile/decide.go", edits: one("return d.full && !d.own(old)", "return false && d.full && !d.own(old)"),
			catch: "pkg/profile", test: "TestCases/full_repeated_key",
		},
		{
			name: "settled-too-soon", breaks: "a row that is what it was is not looked up where another one of its key is not",
			file: "pkg/profile/settled.go", edits: one("if s != nil && changed > 0 {", "if s != nil && changed < 0 {"),
			catch: "pkg/store/pebble", test: "TestSuite/a_key_that_a_complete_read_has_twice",
		},
		{
			name: "ingestion-report", breaks: "ingestion acks a batch whose report has failed",
			file: "services/ingestion/worker.go", edits: one("err = w.report(ctx, out.Result, out.remarks)\n", "_ = w.report(ctx, out.Result, out.remarks)\n"),
			catch: "services/ingestion", test: "TestAReportThatNobodyWantsEndsQuietly",
		},
		{
			name: "pebble-drops", breaks: "Pebble's commit leaves out an entry of the row index",
			file: "pkg/store/pebble/commit.go", edits: one("for _, t := range w.ord.todo {\n\t\tx := &es[t.at]\n\t\tn := putEntry", "for _, t := range w.ord.todo[min(1, len(w.ord.todo)):] {\n\t\tx := &es[t.at]\n\t\tn := putEntry"),
			catch: "pkg/store/pebble", test: "TestSuite/row_index",
		},
		{
			name: "pebble-fence", breaks: "Pebble's commit does not look at the fence",
			file: "pkg/store/pebble/commit.go", edits: one("if r.Batch.Epoch < fence {", "if r.Batch.Epoch < 0*fence {"),
			catch: "pkg/store/pebble", test: "TestSuite/fence", short: true,
		},
		{
			name: "pebble-batch-key", breaks: "Pebble's commit does not look at the batch key",
			file: "pkg/store/pebble/commit.go", edits: one("if applied != nil {\n\t\treturn store.Outcome{Repeated: true", "if applied != nil && r.Rows < 0 {\n\t\treturn store.Outcome{Repeated: true"),
			catch: "pkg/store/pebble", test: "TestSuite/a_batch_commits_once",
		},
		{
			name: "pebble-fence-hidden", breaks: "Pebble's filter does not get to know of a fence",
			file: "pkg/store/pebble/fence.go", edits: one("\ts.filter.add(fenceHash(p.Run))\n", ""),
			catch: "pkg/store/pebble", test: "TestSuite/fence", short: true,
		},
		{
			name: "pebble-batch-hidden", breaks: "Pebble's filter does not get to know of a batch",
			file: "pkg/store/pebble/commit.go", edits: one("\tw.filter.add(batchHash(w.e.Result.Batch))\n", ""),
			catch: "pkg/store/pebble", test: "TestSuite/a_batch_commits_once",
		},
		{
			name: "pebble-fence-unscanned", breaks: "Pebble's filter is made anew without the fences",
			file: "pkg/store/pebble/filter.go", edits: one("s.filter.add(fenceHash(id.Run(k[1:17])))", "_ = id.Run(k[1:17])"),
			catch: "pkg/store/pebble", test: "TestAFilterMadeAnewKnowsOfMoreThanRows",
		},
		{
			name: "pebble-block-unscanned", breaks: "Pebble's filter is made anew without the hash lists",
			file: "pkg/store/pebble/filter.go", edits: one("s.filter.add(blockedHash(binary.BigEndian.Uint32(k[1:])))", "_ = binary.BigEndian.Uint32(k[1:])"),
			catch: "pkg/store/pebble", test: "TestAFilterMadeAnewKnowsOfMoreThanRows",
		},
		{
			name: "pebble-block-hidden", breaks: "Pebble's filter does not get to know of a hash list",
			file: "pkg/store/pebble/erasure.go", edits: one("\tw.filter.add(blockedHash(w.scope))\n", ""),
			catch: "pkg/store/pebble", test: "TestSuite/hash_lists",
		},
		{
			name: "pebble-remembers", breaks: "an identity that Pebble's commit binds to another profile stays remembered as it was",
			file: "pkg/store/pebble/commit.go", edits: one("s.bindings.drop(w.moved)\n\tw.touched.seq", "w.touched.seq"),
			catch: "pkg/store/pebble", test: "TestSuite/an_identity_is_looked_up_again",
		},
		{
			name: "pebble-remembers-late", breaks: "what was read before an identity went to another profile is remembered after it",
			file: "pkg/store/pebble/bindings.go", edits: one("if b.dropped != before {", "if b.dropped < 0*before {"),
			catch: "pkg/store/pebble", test: "TestWhatWasReadBeforeADropIsNotLearnt",
		},
		{
			name: "postgres-drops", breaks: "PostgreSQL's commit leaves out an event",
			file: "pkg/store/postgres/commit.go", edits: one("profiles, times, ids, docs := newElements(n, 8), newElements(n, 8), newElements(n, 16), newElements(n, 256)\n", "profiles, times, ids, docs := newElements(n, 8), newElements(n, 8), newElements(n, 16), newElements(n, 256)\n\tput = put[1:]\n"),
			catch: "pkg/store/postgres", test: "TestConformance/events",
		},
		{
			name: "postgres-fence", breaks: "PostgreSQL's commit does not look at the fence",
			file: "pkg/store/postgres/commit.go", edits: one("case int64(e.Result.Batch.Epoch) < g.fence:", "case int64(e.Result.Batch.Epoch) < min(g.fence, 0):"),
			catch: "pkg/store/postgres", test: "TestConformance/fence",
		},
		{
			name: "postgres-batch-key", breaks: "PostgreSQL's commit does not look at the batch key",
			file: "pkg/store/postgres/commit.go", edits: one("case !g.first:", "case !g.first && g.fence < 0:"),
			catch: "pkg/store/postgres", test: "TestConformance/a_batch_commits_once",
		},
		{
			name: "account-digest", breaks: "the digests of an account are not compared",
			file: "pkg/run/account.go", edits: one("if a.Read != a.Accounted {", "if a.Read != a.Accounted && a.Rows < 0 {"),
			catch: "pkg/run", test: "TestAccounts", short: true,
		},
		{
			name: "account-coverage", breaks: "fragments count as a whole batch although rows lack between them",
			file: "pkg/run/account.go", edits: one("s.Last+1 == next.First && s.EndRow == next.FirstRow && !s.End", "s.Last+1 == next.First && !s.End"),
			catch: "pkg/run", test: "TestAccounts",
		},
		{
			name: "account-repeats", breaks: "a fragment that is told of again is added again",
			file: "pkg/run/account.go", edits: one("if i < len(c) && c[i].First <= f.Index {\n\t\treturn c, false", "if i < len(c) && c[i].First <= f.Index {\n\t\treturn c, true"),
			catch: "pkg/run", test: "TestAnAccountIsTheSameForAnyOrderOfReports",
		},
		{
			name: "scheduler-epoch", breaks: "the scheduler takes reports of an epoch that is over",
			file: "services/scheduler/lease.go", edits: one("!p.RunOpen, p.Epoch != epoch, epoch == 0, p.Fence > epoch,", "!p.RunOpen, epoch == 0,"),
			catch: "services/scheduler", test: "TestALostLeaseIsFencedBeforeTheNextAndItsZombieChangesNothing/sqlite",
		},
		{
			name: "scheduler-fence", breaks: "a part is leased again before it is fenced",
			file: "services/scheduler/lease.go",
			edits: []edit{
				{"AND (p.epoch = 0 OR p.fence > p.epoch)", ""},
				{"p.State != run.Waiting || !p.fenced() {", "p.State != run.Waiting {"},
			},
			catch: "services/scheduler", test: "TestALostLeaseIsFencedBeforeTheNextAndItsZombieChangesNothing/sqlite",
		},
		{
			name: "scheduler-fold", breaks: "what a fence finds applied does not enter the account",
			file: "services/scheduler/keeper.go", edits: one("if a.Batch.Epoch != p.Epoch {", "if a.Batch.Epoch == p.Epoch {"),
			catch: "services/scheduler", test: "TestAFenceThatFindsEverythingAppliedCompletesThePart/sqlite",
		},
		{
			name: "scheduler-clock", breaks: "leases end by a clock that has jumped forward",
			file: "services/scheduler/clock.go", edits: one("if r.step <= 0 {", "if r.step != 0 {"),
			catch: "services/scheduler", test: "TestF32TheWallClockJumps/an_hour_forward/sqlite",
		},
		{
			name: "scheduler-checkpoint", breaks: "a run that was cancelled or has failed moves the checkpoint",
			file: "services/scheduler/keeper.go", edits: one("if r.State.Done() && r.Lane == live", "if r.Lane == live"),
			catch: "services/scheduler", test: "TestCancelling/sqlite",
		},
	}
}
