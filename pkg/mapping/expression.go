package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/record"
)

// rowType is the name of the type of the variable `row`.
const rowType = "row"

// celEnv compiles expressions over one schema.
type celEnv struct {
	env     *cel.Env
	columns map[string]*celColumn
	done    map[string]*expression // by the rule's place; nil where there is a fault
}

// celColumn is a column as expressions see it.
type celColumn struct {
	at    int
	flow  flow
	typ   *types.Type
	field *types.FieldType
}

// expression is a compiled CEL expression.
type expression struct {
	program cel.Program
	uses    []*celColumn // in the order of the schema
	out     flow         // of the result
	put     func(c *call, round bool, n int) sink
	round   bool
}

func (e *expression) columns(in *arrow.Schema) []string {
	var out []string
	for _, u := range e.uses {
		out = append(out, in.Field(u.at).Name)
	}
	return out
}

// cells compiles the environment once. An expression sees row.NAME and nothing else: no clock, no random, no I/O.
func (c *compiler) cells() (*celEnv, error) {
	if c.cel != nil {
		return c.cel, nil
	}
	e := &celEnv{columns: map[string]*celColumn{}, done: map[string]*expression{}}
	for i, f := range c.in.Fields() {
		fl, m := c.flowOf(f)
		if m.bad() {
			continue
		}
		e.columns[f.Name] = newCelColumn(i, fl)
	}
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, fmt.Errorf("make the registry of expressions: %w", err)
	}
	e.env, err = cel.NewEnv(
		cel.CustomTypeAdapter(registry), cel.CustomTypeProvider(&rowProvider{Provider: registry, columns: e.columns}),
		cel.Variable(rowType, cel.ObjectType(rowType)), cel.EnableIdentifierEscapeSyntax(), cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(c.limits.ExpressionSize), ext.Strings(), ext.Math(),
	)
	if err != nil {
		return nil, fmt.Errorf("make the environment of expressions: %w", err)
	}
	c.cel = e
	return e, nil
}

// rowProvider adds the type of `row` to CEL's own types.
type rowProvider struct {
	types.Provider
	columns map[string]*celColumn
}

// FindStructType answers the type of `row`.
func (p *rowProvider) FindStructType(name string) (*types.Type, bool) {
	if name == rowType {
		return types.NewTypeTypeWithParam(types.NewObjectType(rowType)), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames answers the columns' names.
func (p *rowProvider) FindStructFieldNames(name string) ([]string, bool) {
	if name != rowType {
		return p.Provider.FindStructFieldNames(name)
	}
	var out []string
	for n := range p.columns {
		out = append(out, n)
	}
	slices.Sort(out)
	return out, true
}

// FindStructFieldType answers a column's type and how it is read.
func (p *rowProvider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if name != rowType {
		return p.Provider.FindStructFieldType(name, field)
	}
	col, ok := p.columns[field]
	if !ok {
		return nil, false
	}
	return col.field, true
}

func newCelColumn(at int, fl flow) *celColumn {
	col := &celColumn{at: at, flow: fl}
	switch fl.class {
	case classText:
		col.typ = types.NewNullableType(types.StringType)
	case classInteger:
		col.typ = types.NewNullableType(types.IntType)
	case classFloat, classDecimal:
		col.typ = types.NewNullableType(types.DoubleType)
	case classBoolean:
		col.typ = types.NewNullableType(types.BoolType)
	case classInstant, classDate:
		col.typ = types.TimestampType
	default:
		col.typ = types.DynType
	}
	col.field = &types.FieldType{
		Type:    col.typ,
		IsSet:   func(target any) bool { return target.(*rowView).valid(at) },              //nolint:forcetypeassert // the activation has nothing else
		GetFrom: func(target any) (any, error) { return target.(*rowView).value(at), nil }, //nolint:forcetypeassert // the activation has nothing else
	}
	return col
}

// rowView is one row as an expression reads it. It is its own activation.
type rowView struct {
	columns map[int]arrow.Array
	i       int
	lost    bool // a decimal lost digits as a double
}

// ResolveName answers the row.
func (v *rowView) ResolveName(name string) (any, bool) { return v, name == rowType }

// Parent answers nil.
func (v *rowView) Parent() cel.Activation { return nil }

func (v *rowView) valid(at int) bool { return v.columns[at].IsValid(v.i) }

func (v *rowView) value(at int) any {
	col := v.columns[at]
	if col.IsNull(v.i) {
		return types.NullValue
	}
	switch a := col.(type) {
	case *jsonColumn:
		return a.value(v.i)
	case *array.String:
		return types.String(a.Value(v.i))
	case *array.Int64:
		return types.Int(a.Value(v.i))
	case *array.Float64:
		return types.Double(a.Value(v.i))
	case *array.Boolean:
		return types.Bool(a.Value(v.i))
	case *array.Decimal128:
		return v.double(a)
	case *array.Timestamp:
		unit := a.DataType().(*arrow.TimestampType).Unit //nolint:forcetypeassert // by the array
		return types.Timestamp{Time: a.Value(v.i).ToTime(unit)}
	case *array.Date32:
		return types.Timestamp{Time: time.Unix(int64(a.Value(v.i))*secondsPerDay, 0).UTC()}
	}
	return types.NullValue
}

func (v *rowView) double(a *array.Decimal128) types.Double {
	scale := a.DataType().(*arrow.Decimal128Type).Scale //nolint:forcetypeassert // by the array
	c := &call{cur: &leaf{}}
	var buf [48]byte
	d := c.parseNumber(0, record.AppendDecimal(buf[:0], a.Value(v.i), scale), false)
	v.lost = v.lost || len(c.faults) > 0
	return types.Double(d)
}

// jsonColumn is a column whose values expressions read as CEL values: JSON, lists, structs.
type jsonColumn struct {
	arrow.Array
	field arrow.Field
}

func (j *jsonColumn) value(i int) any {
	d := json.NewDecoder(bytes.NewReader(record.AppendJSON(nil, j.Array, j.field, i)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || v == nil {
		return types.NullValue
	}
	return numbered(v)
}

// numbered turns JSON numbers into integers where they are written as such, and else into doubles.
func numbered(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case []any:
		for i := range v {
			v[i] = numbered(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbered(v[k])
		}
	case nil:
		return types.NullValue
	}
	return v
}

// namedBy answers the columns that an assignment's expression names.
func (c *compiler) namedBy(a assignment) []int {
	e := c.compileExpression(a)
	if e == nil {
		return nil
	}
	var out []int
	for _, u := range e.uses {
		out = append(out, u.at)
	}
	return out
}

// expression answers an assignment's expression and the flow of its results.
func (c *compiler) expression(a assignment) (*expression, flow, bool) {
	e := c.compileExpression(a)
	if e == nil {
		return nil, flow{}, false
	}
	return e, e.out, true
}

func (c *compiler) compileExpression(a assignment) *expression {
	env, err := c.cells()
	if err != nil {
		c.fault(a.at+".expression", "cannot be compiled here", "leave expressions out")
		return nil
	}
	if e, ok := env.done[a.at]; ok {
		return e
	}
	e, m := c.compileCEL(env, a)
	if m.bad() {
		c.fault(a.at+".expression", m.what, m.fix)
		e = nil
	}
	env.done[a.at] = e
	return e
}

func (c *compiler) compileCEL(env *celEnv, a assignment) (*expression, mend) {
	if len(a.rule.Expression) > c.limits.ExpressionSize {
		return nil, mend{fmt.Sprintf("is longer than %d characters", c.limits.ExpressionSize), "compute it in SQL"}
	}
	checked, issues := env.env.Compile(a.rule.Expression)
	if issues.Err() != nil {
		return nil, mend{firstIssue(issues), "mend it; columns are row.NAME, or row.`any name`"}
	}
	e := &expression{round: a.rule.OnLoss == "round"}
	tree := ast.NavigateAST(checked.NativeRep())
	plain, bare := inspect(tree, env, e)
	if bare {
		return nil, mend{"uses row as a whole", "name a column of it, as row.NAME"}
	}
	var m mend
	if e.out, e.put, m = resultOf(checked.OutputType(), a.rule.Type); m.bad() {
		return nil, m
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if !plain {
		options = append(options, cel.CostLimit(c.limits.ExpressionCost))
	}
	p, err := env.env.Program(checked, options...)
	if err != nil {
		return nil, mend{"cannot be planned", "simplify it"}
	}
	e.program = p
	return e, mend{}
}

// firstIssue answers what CEL says first, with its place and without the source text.
func firstIssue(issues *cel.Issues) string {
	errs := issues.Errors()
	if len(errs) == 0 {
		return "is no CEL expression"
	}
	first := errs[0]
	at := ""
	if first.Location != nil && first.Location.Line() > 0 {
		at = fmt.Sprintf(" at line %d, column %d", first.Location.Line(), first.Location.Column()+1)
	}
	what, _, _ := strings.Cut(strings.ReplaceAll(first.Message, "\n", " "), " expecting {")
	return "is wrong" + at + ": " + what
}

// inspect finds the columns that an expression names. It answers whether nothing in it can grow or repeat, so that its
// cost is bounded by its own length and its input; and whether `row` stands alone somewhere.
func inspect(tree ast.NavigableExpr, env *celEnv, e *expression) (plain, bare bool) {
	plain = true
	seen := map[string]bool{}
	rows, selects := 0, 0
	ast.PreOrderVisit(tree, ast.NewExprVisitor(func(x ast.Expr) {
		switch x.Kind() {
		case ast.ComprehensionKind:
			plain = false
		case ast.CallKind:
			plain = plain && boundedCall(x.AsCall().FunctionName())
		case ast.IdentKind:
			if x.AsIdent() == rowType {
				rows++
			}
		case ast.SelectKind:
			s := x.AsSelect()
			if s.Operand().Kind() == ast.IdentKind && s.Operand().AsIdent() == rowType {
				selects++
				seen[s.FieldName()] = true
			}
		}
	}))
	for name, col := range env.columns {
		if seen[name] {
			e.uses = append(e.uses, col)
		}
	}
	slices.SortFunc(e.uses, func(a, b *celColumn) int { return a.at - b.at })
	return plain, rows > selects
}

// boundedCall says whether a function's result is no longer than its arguments, or of fixed size.
func boundedCall(name string) bool {
	if strings.HasPrefix(name, "math.") || strings.HasPrefix(name, "get") {
		return true
	}
	switch name {
	case operators.Conditional, operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Equals,
		operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals, operators.Add,
		operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo, operators.Negate, operators.Index, operators.In,
		"size", "contains", "startsWith", "endsWith", "string", "int", "uint", "double", "bool", "timestamp", "duration",
		"lowerAscii", "upperAscii", "trim", "substring", "charAt", "indexOf", "lastIndexOf":
		return true
	}
	return false
}
