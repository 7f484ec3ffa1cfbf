package millrace

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
)

type applyCmd struct {
	Files  []string `short:"f" name:"file" help:"A YAML file, a folder of .yaml and .yml files, or - for stdin; may be given more than once." required:"" placeholder:"PATH" sep:"none"`
	DryRun bool     `help:"Show the plan and change nothing."`
	Yes    bool     `help:"Do not ask." short:"y"`
	Prune  bool     `help:"Delete what an earlier apply of the same set brought in and these documents no longer hold."`
	Set    string   `help:"Name of the set that these documents are, which --prune goes by; by default it follows from the paths." placeholder:"NAME"`
}

// Run shows the plan and, once it is agreed to, applies it as one change.
func (c *applyCmd) Run(ctx context.Context, s *session) error {
	if !c.DryRun && !c.Yes && !s.Asks {
		return usagef("add --yes to apply the plan, or --dry-run to see it", "apply asks before it changes anything, and nobody is here to answer")
	}
	set, err := c.set()
	if err != nil {
		return err
	}
	cc, err := s.config()
	if err != nil {
		return err
	}
	docs, bad := readDocuments(s.IO, c.Files)
	req := &configv1.ApplyRequest{
		Workspace: s.flags.Workspace, Documents: docs, Prune: c.Prune, ApplySet: set,
		DryRun: c.DryRun || !c.Yes || len(bad) > 0,
	}
	plan, err := applyAll(ctx, cc, req, bad)
	if err != nil {
		return err
	}
	for _, w := range plan.GetWarnings() {
		s.notef("warning: %s", w)
	}
	if c.DryRun || c.Yes {
		return s.answer(plan, drawPlan(plan))
	}
	if err := drawPlan(plan)(s.Err); err != nil {
		return err
	}
	if !changes(plan) {
		return s.answer(plan, line("nothing to change"))
	}
	if err := s.confirm(ctx, "Apply this plan?"); err != nil {
		return err
	}
	req.DryRun, req.ExpectedEtags = false, etags(plan)
	done, err := cc.Apply(ctx, req)
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	return s.answer(done, line(summary(done)))
}

// applyAll calls the service, and answers the violations of files that could not be read together with its own.
func applyAll(ctx context.Context, cc configv1.ConfigServiceClient, req *configv1.ApplyRequest, bad []fault.Violation) (*configv1.ApplyResponse, error) {
	if len(bad) > 0 && len(req.GetDocuments()) == 0 {
		return nil, fault.Of(fault.ReasonInvalidArgument, bad) //nolint:wrapcheck // born here
	}
	r, err := cc.Apply(ctx, req)
	if len(bad) == 0 {
		return r, err //nolint:wrapcheck // classified by the service
	}
	var e *fault.Error
	if err != nil && (!errors.As(err, &e) || len(e.Violations) == 0) {
		return nil, err //nolint:wrapcheck // classified by the service
	}
	if e != nil {
		bad = slices.Concat(bad, e.Violations)
	}
	return nil, fault.Of(fault.ReasonInvalidArgument, bad) //nolint:wrapcheck // born here
}

// slug is the form of a set's name.
var slug = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// set answers the name of the apply set: the one given, or one that the paths give: equal paths, equal sets.
func (c *applyCmd) set() (string, error) {
	if c.Set != "" {
		if !slug.MatchString(c.Set) {
			return "", usagef("use 1 to 64 of a-z, 0-9, _ and -", "--set %q is no name of a set", c.Set)
		}
		return c.Set, nil
	}
	paths := make([]string, len(c.Files))
	for i, f := range c.Files {
		full, err := filepath.Abs(f)
		if err != nil {
			return "", fmt.Errorf("find the current folder: %w", err)
		}
		paths[i] = full
	}
	slices.Sort(paths)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(paths), "\x00")))
	return "set-" + hex.EncodeToString(sum[:8]), nil
}

// drawPlan draws a plan: a line for each change, its notes beneath, and the totals.
func drawPlan(r *configv1.ApplyResponse) func(io.Writer) error {
	return func(w io.Writer) error {
		t := newTable(w, "ACTION", "KIND", "ID", "FIELDS")
		for _, c := range r.GetChanges() {
			t.row(word(c.GetAction()), c.GetKind(), c.GetId(), strings.Join(c.GetFields(), ", "))
			for _, note := range c.GetNotes() {
				t.row("", "", "", "note: "+note)
			}
		}
		if err := t.flush(); err != nil {
			return err
		}
		return line(summary(r))(w)
	}
}

// summary counts a plan's actions.
func summary(r *configv1.ApplyResponse) string {
	n := map[configv1.Action]int{}
	for _, c := range r.GetChanges() {
		n[c.GetAction()]++
	}
	head := "plan: "
	if r.GetApplied() {
		head = "applied: "
	}
	text := fmt.Sprintf("%s%d to create, %d to change, %d to delete, %d unchanged", head,
		n[configv1.Action_ACTION_CREATE], n[configv1.Action_ACTION_CHANGE], n[configv1.Action_ACTION_DELETE], n[configv1.Action_ACTION_UNCHANGED])
	if r.GetApplied() {
		text = strings.NewReplacer("to create", "created", "to change", "changed", "to delete", "deleted").Replace(text)
	}
	return text
}

// etags answers what a plan was made against, so that nothing else is applied than what was agreed to.
func etags(r *configv1.ApplyResponse) map[string]string {
	out := map[string]string{}
	for _, c := range r.GetChanges() {
		out[c.GetKind()+"/"+c.GetId()] = c.GetEtag()
	}
	return out
}

func changes(r *configv1.ApplyResponse) bool {
	return slices.ContainsFunc(r.GetChanges(), func(c *configv1.PlannedChange) bool {
		return c.GetAction() != configv1.Action_ACTION_UNCHANGED
	})
}

// confirm asks a person; anything but yes ends the command as failed.
func (s *session) confirm(ctx context.Context, question string) error {
	fmt.Fprintf(s.Err, "%s [y/N] ", question) //nolint:errcheck // nowhere left to say it
	answer := make(chan string, 1)
	go func() { // ends with the input; when ctx ends first the process does too
		text, _ := bufio.NewReader(s.In).ReadString('\n')
		answer <- text
	}()
	select {
	case text := <-answer:
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "y", "yes":
			return nil
		}
	case <-ctx.Done():
	}
	s.notef("nothing was changed")
	return exitError(exitFailed)
}
