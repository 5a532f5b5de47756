package tidegate_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"
)

// A violation names a place, what is wrong there, and the reason for the rule.
type violation struct {
	file string
	line int
	what string
	why  string
}

func (v violation) String() string {
	return fmt.Sprintf("%s:%d: %s (%s)", v.file, v.line, v.what, v.why)
}

// A source is one Go file.
type source struct {
	path  string
	dir   string // package: "." = the root
	test  bool
	aid   bool // of a package that serves tests
	lines int
	tree  *ast.File
}

// A house is the tree under judgement.
type house struct {
	rules    ruleBook
	fset     *token.FileSet
	sources  []*source
	packages map[string][]*source // without tests
	texts    map[string]string    // files that may hold placeholders
	top      []string             // top-level folders
	found    []violation
}

// judge returns all violations of rules in the tree fsys, sorted by place.
func judge(fsys fs.FS, rules ruleBook) ([]violation, error) {
	h := &house{rules: rules, fset: token.NewFileSet(), packages: map[string][]*source{}, texts: map[string]string{}}
	if err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error { return h.load(fsys, p, d, err) }); err != nil {
		return nil, err
	}
	h.judgeFolders()
	h.judgePlaceholders()
	h.judgeImports()
	h.judgeReach()
	h.judgeDrivers()
	for _, s := range h.sources {
		if !s.test {
			h.judgeFile(s)
		}
	}
	for dir, files := range h.packages {
		h.judgePackage(dir, files)
		h.judgeVariables(dir, files)
	}
	sort.Slice(h.found, func(i, j int) bool {
		a, b := h.found[i], h.found[j]
		if a.file != b.file {
			return a.file < b.file
		}
		if a.line != b.line {
			return a.line < b.line
		}
		return a.what < b.what
	})
	return h.found, nil
}

func (h *house) load(fsys fs.FS, p string, d fs.DirEntry, err error) error {
	if err != nil {
		// Somebody else's scratch file came and went while we looked.
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if d.IsDir() {
		if p != "." && path.Dir(p) == "." {
			h.top = append(h.top, p)
		}
		if p == ".git" || has(h.rules.ignored, p) || d.Name() == "node_modules" {
			return fs.SkipDir
		}
		return nil
	}
	ext := path.Ext(p)
	if !slices.Contains([]string{".go", ".sh", ".yaml", ".yml", ".service", ".js"}, ext) && d.Name() != "Makefile" && p != ".ci/run" {
		return nil
	}
	b, err := fs.ReadFile(fsys, p)
	if err != nil {
		return err
	}
	h.texts[p] = string(b)
	if ext != ".go" || strings.HasPrefix(p, "testdata/") || strings.Contains(p, "/testdata/") {
		return nil
	}
	f, err := parser.ParseFile(h.fset, p, b, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	s := &source{path: p, dir: path.Dir(p), lines: strings.Count(string(b), "\n"), tree: f}
	s.test, s.aid = strings.HasSuffix(p, "_test.go"), h.supports(s.dir)
	h.sources = append(h.sources, s)
	if !s.test {
		h.packages[s.dir] = append(h.packages[s.dir], s)
	}
	return nil
}

func (h *house) report(pos token.Pos, why, what string, args ...any) {
	p := h.fset.Position(pos)
	h.reportAt(p.Filename, p.Line, why, what, args...)
}

func (h *house) reportAt(file string, line int, why, what string, args ...any) {
	h.found = append(h.found, violation{file, line, fmt.Sprintf(what, args...), why})
}

// has reports whether a row of rows is called what.
func has(rows []row, what string) bool { return find(rows, what) != nil }

func find(rows []row, what string) *row {
	for i := range rows {
		if rows[i].what == what {
			return &rows[i]
		}
	}
	return nil
}

// covers reports whether dir is one of the packages named by patterns, of which "x/*" names the folders just below x.
func covers(patterns []string, dir string) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(p, dir); ok { // our patterns are well formed
			return true
		}
	}
	return false
}

func (h *house) judgeFolders() {
	for _, d := range h.top {
		if !has(h.rules.folders, d) && !has(h.rules.ignored, d) {
			h.reportAt(d, 0, "the top level is fixed: find its place in one of the folders that are", "top-level folder %s", d)
		}
	}
}

// placeholders are what an unfinished place is marked with. They are put together from halves so that this file is clean.
var placeholders = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b|\bno` + `lint\b|lint:` + `ignore|\b(t|b|f|tb)\.Ski` + `p(f|Now)?\(|not ` + `implemented|unim` + `plemented`)

func (h *house) judgePlaceholders() {
	for p, text := range h.texts {
		for i, line := range strings.Split(text, "\n") {
			if m := placeholders.FindString(line); m != "" {
				h.reportAt(p, i+1, "nothing is left for later: finish it or leave it out", "placeholder %s", m)
			}
		}
	}
}

// supports reports whether package dir serves tests.
func (h *house) supports(dir string) bool {
	return slices.ContainsFunc(h.rules.support, func(r row) bool { return covers([]string{r.what}, dir) })
}

// layer returns the row that says what package dir may import.
func (h *house) layer(dir string) *row {
	if r := find(h.rules.layers, dir); r != nil {
		return r
	}
	for i, r := range h.rules.layers {
		if covers([]string{r.what}, dir) {
			return &h.rules.layers[i]
		}
	}
	return nil
}

func (h *house) judgeImports() {
	for _, s := range h.sources {
		l := h.layer(s.dir)
		if l == nil {
			h.report(s.tree.Package, "each package has its row in the table of layers", "package %s is in no layer", s.dir)
			continue
		}
		for _, im := range s.tree.Imports {
			p, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				h.report(im.Pos(), "it must parse", "import %s", im.Path.Value)
				continue
			}
			if ours, ok := local(p); ok {
				below := s.dir != "." && strings.HasPrefix(ours, s.dir+"/")
				if !s.test && !below && !covers(l.where, ours) {
					h.report(im.Pos(), l.why, "%s imports %s", s.dir, ours)
				}
				if !s.test && !s.aid && h.supports(ours) {
					h.report(im.Pos(), "what serves tests does not ship", "%s imports %s", s.dir, ours)
				}
				continue
			}
			h.judgeDoor(s, im, p)
		}
	}
}

// local returns the package of ours that has the import path p.
func local(p string) (dir string, ok bool) {
	if p == module {
		return ".", true
	}
	return strings.CutPrefix(p, module+"/")
}

func (h *house) judgeDoor(s *source, im *ast.ImportSpec, p string) {
	for _, d := range h.rules.doors {
		if p != d.what && !strings.HasPrefix(p, d.what+"/") {
			continue
		}
		if !s.test && !s.aid && !covers(d.where, s.dir) {
			who := strings.Join(d.where, ", ")
			if who == "" {
				who = "tests"
			}
			h.report(im.Pos(), d.why, "%s imports %s, the door of which is %s", s.dir, p, who)
		}
		return
	}
	if first, _, _ := strings.Cut(p, "/"); strings.Contains(first, ".") {
		h.report(im.Pos(), "each outside library has its row in the table of doors", "%s imports %s, which has no door", s.dir, p)
	}
}

// judgeReach follows imports through packages of ours.
func (h *house) judgeReach() {
	for _, r := range h.rules.reach {
		type step struct{ dir, by string }
		seen := map[string]bool{r.what: true}
		for todo := []step{{r.what, r.what}}; len(todo) > 0; todo = todo[1:] {
			at := todo[0]
			for _, s := range h.packages[at.dir] {
				for _, im := range s.tree.Imports {
					p := strings.Trim(im.Path.Value, `"`)
					for _, no := range r.where {
						if p == no || strings.HasPrefix(p, strings.TrimSuffix(no, "/")+"/") {
							h.report(im.Pos(), r.why, "%s reaches %s by %s", r.what, p, at.by)
						}
					}
					if ours, ok := local(p); ok && !seen[ours] {
						seen[ours] = true
						todo = append(todo, step{ours, at.by + " > " + ours})
					}
				}
			}
		}
	}
}

func (h *house) judgeDrivers() {
	listed := map[string]bool{}
	for _, s := range h.packages["drivers/all"] {
		ast.Inspect(s.tree, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Driver" {
				if x, ok := sel.X.(*ast.Ident); ok {
					listed[x.Name] = true
				}
			}
			return true
		})
	}
	for dir, files := range h.packages {
		name := path.Base(dir)
		if path.Dir(dir) != "drivers" || has(h.rules.drivers, name) {
			continue
		}
		const why = "a driver's folder exports one Driver named like the folder, and drivers/all lists it"
		var decls []*ast.ValueSpec
		for _, s := range files {
			for _, d := range s.tree.Decls {
				if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
					for _, sp := range g.Specs {
						if v := sp.(*ast.ValueSpec); slices.ContainsFunc(v.Names, func(i *ast.Ident) bool { return i.Name == "Driver" }) {
							decls = append(decls, v)
						}
					}
				}
			}
		}
		if len(decls) != 1 {
			h.report(files[0].tree.Package, why, "driver folder %s declares Driver %d times, want once", dir, len(decls))
			continue
		}
		if got := nameField(decls[0]); got != name {
			h.report(decls[0].Pos(), why, "Driver.Name is %q, want %q", got, name)
		}
		if !listed[name] {
			h.report(decls[0].Pos(), why, "drivers/all does not list %s.Driver", name)
		}
	}
}

// nameField returns the text of the field Name in the composite literal that v is set to; "" when there is none.
func nameField(v *ast.ValueSpec) string {
	if len(v.Values) != 1 {
		return ""
	}
	lit, ok := v.Values[0].(*ast.CompositeLit)
	if !ok {
		return ""
	}
	for _, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		if k, ok := kv.Key.(*ast.Ident); !ok || k.Name != "Name" {
			continue
		}
		if b, ok := kv.Value.(*ast.BasicLit); ok {
			return strings.Trim(b.Value, "\"`")
		}
	}
	return ""
}

// judgeFile looks at what one file shows by itself: length, functions, interfaces, goroutines, comments, names.
func (h *house) judgeFile(s *source) {
	h.judgeLength(s)
	for _, d := range s.tree.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			h.judgeFunc(s, d)
		case *ast.GenDecl:
			h.judgeDecl(s, d)
		}
	}
	h.judgeCalls(s)
}

func (h *house) judgeLength(s *source) {
	const why = "a file is read in one go; what grows beyond has two subjects"
	if s.lines > fileHard {
		h.reportAt(s.path, s.lines, why, "%d lines, at most %d", s.lines, fileHard)
		return
	}
	r := find(h.rules.files, s.path)
	if r == nil && s.lines > fileAsked {
		h.reportAt(s.path, s.lines, why, "%d lines, at most %d without a row in the table", s.lines, fileAsked)
	}
	if r != nil && s.lines > r.limit {
		h.reportAt(s.path, s.lines, r.why, "%d lines, at most %d by its row in the table", s.lines, r.limit)
	}
}

func (h *house) judgeFunc(s *source, d *ast.FuncDecl) {
	first, last := h.fset.Position(d.Pos()).Line, h.fset.Position(d.End()).Line
	if n := last - first + 1; n > functionLines {
		h.report(d.Pos(), "a function does one thing", "function %s has %d lines, at most %d", d.Name.Name, n, functionLines)
	}
	if d.Recv == nil && d.Name.Name == "init" {
		h.report(d.Pos(), "importing a package does nothing", "init function")
	}
	on, ok := receiver(d)
	if !d.Name.IsExported() || !ok {
		return
	}
	if d.Doc.Text() == "" {
		h.report(d.Pos(), "what others call says units, ranges and errors", "exported %s%s has no comment", on, d.Name.Name)
	}
	h.judgeName(s, d.Name, on+d.Name.Name)
}

// receiver returns "Type." for a method, and whether what d declares can be seen from outside: ok is false for methods of
// unexported types.
func receiver(d *ast.FuncDecl) (prefix string, ok bool) {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return "", true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name + ".", x.IsExported()
		default:
			return "", true
		}
	}
}

func (h *house) judgeDecl(s *source, d *ast.GenDecl) {
	for _, sp := range d.Specs {
		switch sp := sp.(type) {
		case *ast.TypeSpec:
			h.judgeType(s, d, sp)
		case *ast.ValueSpec:
			for _, n := range sp.Names {
				if !n.IsExported() {
					continue
				}
				if d.Doc.Text() == "" && sp.Doc.Text() == "" && sp.Comment.Text() == "" {
					h.report(n.Pos(), "what others use says units, ranges and errors", "exported %s has no comment", n.Name)
				}
				h.judgeName(s, n, n.Name)
			}
		}
	}
}

func (h *house) judgeType(s *source, d *ast.GenDecl, t *ast.TypeSpec) {
	if it, ok := t.Type.(*ast.InterfaceType); ok {
		limit, why := interfaceSize, "a large interface has few who can implement it"
		if r := find(h.rules.interfaces, s.dir+"."+t.Name.Name); r != nil {
			limit, why = r.limit, r.why
		}
		if n := it.Methods.NumFields(); n > limit {
			h.report(t.Pos(), why, "interface %s has %d methods, at most %d", t.Name.Name, n, limit)
		}
	}
	if !t.Name.IsExported() {
		return
	}
	if d.Doc.Text() == "" && t.Doc.Text() == "" {
		h.report(t.Pos(), "what others use says units, ranges and errors", "exported %s has no comment", t.Name.Name)
	}
	h.judgeName(s, t.Name, t.Name.Name)
	var members *ast.FieldList
	switch x := t.Type.(type) {
	case *ast.StructType:
		members = x.Fields
	case *ast.InterfaceType:
		members = x.Methods
	default:
		return
	}
	for _, f := range members.List {
		for _, n := range f.Names {
			if n.IsExported() {
				h.judgeName(s, n, t.Name.Name+"."+n.Name)
			}
		}
	}
}

// judgeName looks for words that are not ours. full is the name with its type before it.
func (h *house) judgeName(s *source, n *ast.Ident, full string) {
	if has(h.rules.named, s.dir+"."+full) {
		return
	}
	for _, w := range split(n.Name) {
		for _, r := range h.rules.words {
			if w == r.what || w == r.what+"s" || r.what == "util" && w == "utils" {
				h.report(n.Pos(), r.why, "exported name %s says %q; our word is %s", full, w, r.where[0])
			}
		}
	}
}

// split returns the words of a Go name in lower case: "MaxHTTPBody" is max, http, body.
func split(name string) []string {
	var out []string
	var word []rune
	rs := []rune(name)
	for i, r := range rs {
		begins := unicode.IsUpper(r) && (i == 0 || !unicode.IsUpper(rs[i-1]) || i+1 < len(rs) && unicode.IsLower(rs[i+1]))
		if (begins || r == '_' || unicode.IsDigit(r)) && len(word) > 0 {
			out = append(out, strings.ToLower(string(word)))
			word = nil
		}
		if unicode.IsLetter(r) {
			word = append(word, r)
		}
	}
	if len(word) > 0 {
		out = append(out, strings.ToLower(string(word)))
	}
	return out
}

func (h *house) judgeCalls(s *source) {
	if s.aid {
		return
	}
	var allowed bool
	for _, r := range h.rules.goroutines {
		allowed = allowed || covers([]string{r.what}, s.dir)
	}
	const why = "goroutines start where they are waited for: everything else is called, and returns"
	ast.Inspect(s.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if !allowed {
				h.report(n.Pos(), why, "go statement in %s", s.dir)
			}
		case *ast.CallExpr:
			sel, ok := n.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if sel.Sel.Name == goroutineCalls && !allowed {
				h.report(n.Pos(), why, "call of a method Go in %s", s.dir)
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && sel.Sel.Name == "Sleep" {
				h.report(n.Pos(), "a sleep cannot be ended: wait for a timer and ctx", "time.Sleep")
			}
		}
		return true
	})
}

func (h *house) judgePackage(dir string, files []*source) {
	limit, why := packageLines, "a package is understood in an hour"
	if r := find(h.rules.packages, dir); r != nil {
		limit, why = r.limit, r.why
	}
	var n int
	var comments []*source
	for _, s := range files {
		n += s.lines
		if s.tree.Doc.Text() != "" {
			comments = append(comments, s)
		}
	}
	if n > limit {
		h.report(files[0].tree.Package, why, "package %s has %d lines, at most %d", dir, n, limit)
	}
	switch len(comments) {
	case 0:
		h.report(files[0].tree.Package, "a package says what it is for", "package %s has no comment", dir)
	case 1:
	default:
		for _, s := range comments[1:] {
			h.report(s.tree.Package, "there is one place to read", "package %s has its comment twice, in %s as well", dir, comments[0].path)
		}
	}
}

// noImports stands in for the packages that a package imports: the judge of variables needs only names of the package itself.
type noImports struct{}

var _ types.Importer = noImports{}

func (noImports) Import(p string) (*types.Package, error) {
	pkg := types.NewPackage(p, path.Base(p))
	pkg.MarkComplete()
	return pkg, nil
}

// judgeVariables looks at the variables of a package and at whether anything sets them again.
func (h *house) judgeVariables(dir string, files []*source) {
	var trees []*ast.File
	for _, s := range files {
		trees = append(trees, s.tree)
		for _, d := range s.tree.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
				for _, sp := range g.Specs {
					h.judgeVariable(dir, g, sp.(*ast.ValueSpec))
				}
			}
		}
	}
	used := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: noImports{}, Error: func(error) {}, FakeImportC: true}
	pkg, _ := conf.Check(dir, h.fset, trees, used) // errors are certain, as imports are empty
	for _, t := range trees {
		ast.Inspect(t, func(n ast.Node) bool {
			for _, x := range set(n) {
				id := base(x)
				if id == nil {
					continue
				}
				if v, ok := used.Uses[id].(*types.Var); ok && pkg != nil && v.Parent() == pkg.Scope() {
					h.report(n.Pos(), "a package has no state: pass it", "package-level variable %s is changed", id.Name)
				}
			}
			return true
		})
	}
}

// set returns what the statement or call n changes.
func set(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			return []ast.Expr{n.Key, n.Value}
		}
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "delete" || f.Name == "clear") && len(n.Args) > 0 {
			return n.Args[:1]
		}
	}
	return nil
}

// base returns the variable at the bottom of x[i].f and the like.
func base(x ast.Expr) *ast.Ident {
	for {
		switch e := x.(type) {
		case *ast.Ident:
			return e
		case *ast.IndexExpr:
			x = e.X
		case *ast.SelectorExpr:
			x = e.X
		case *ast.StarExpr:
			x = e.X
		case *ast.ParenExpr:
			x = e.X
		default:
			return nil
		}
	}
}

func (h *house) judgeVariable(dir string, g *ast.GenDecl, v *ast.ValueSpec) {
	const why = "a package has no state: only errors, tables and Driver stand there"
	for i, n := range v.Names {
		if n.Name == "_" || has(h.rules.variables, dir+"."+n.Name) || has(h.rules.variables, "*."+n.Name) {
			continue
		}
		if i >= len(v.Values) {
			if !strings.Contains(embedding(g, v), "//go:embed ") {
				h.report(n.Pos(), why, "package-level variable %s", n.Name)
			}
			continue
		}
		if !h.constant(v.Values[i]) {
			h.report(n.Pos(), why, "package-level variable %s", n.Name)
		}
	}
}

// embedding returns the comment lines, directives included, before v.
func embedding(g *ast.GenDecl, v *ast.ValueSpec) string {
	var b strings.Builder
	for _, c := range []*ast.CommentGroup{g.Doc, v.Doc} {
		if c != nil {
			for _, l := range c.List {
				b.WriteString(l.Text + "\n")
			}
		}
	}
	return b.String()
}

// constant reports whether x is an error, a table or something made once and only read.
func (h *house) constant(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.CompositeLit:
		name := types.ExprString(x.Type)
		return !strings.HasPrefix(name, "sync.") && !strings.HasPrefix(name, "atomic.")
	case *ast.SelectorExpr: // an error of another package under a name of ours
		return strings.HasPrefix(x.Sel.Name, "Err")
	case *ast.CallExpr:
		fun := x.Fun
		if ix, ok := fun.(*ast.IndexExpr); ok {
			fun = ix.X
		}
		switch f := fun.(type) {
		case *ast.ArrayType: // []byte("...")
			return true
		case *ast.FuncLit: // a table that is worked out
			return isTable(f.Type)
		}
		return has(h.rules.once, types.ExprString(fun))
	}
	return false
}

// isTable reports whether a function of type t takes nothing and returns an array, a slice or a map.
func isTable(t *ast.FuncType) bool {
	if t.Params.NumFields() != 0 || t.Results.NumFields() != 1 {
		return false
	}
	switch t.Results.List[0].Type.(type) {
	case *ast.ArrayType, *ast.MapType:
		return true
	}
	return false
}
