package doctor

import (
	"fmt"
	"path"
	"strings"

	"charactier-proxy/cmd/internal/nginx"
)

// Directive is one directive of nginx's configuration.
type Directive struct {
	file    string
	line    int
	words   []string
	block   []Directive
	isBlock bool
}

func (d *Directive) name() string { return d.words[0] }

// arg is the nth argument, empty where there is none.
func (d *Directive) arg(n int) string {
	if n+1 >= len(d.words) {
		return ""
	}
	return d.words[n+1]
}

func (d *Directive) at() string { return fmt.Sprintf("%s:%d", d.file, d.line) }

func (d *Directive) child(name string) *Directive {
	for i := range d.block {
		if d.block[i].name() == name {
			return &d.block[i]
		}
	}
	return nil
}

// ParseNginx reads what nginx -T prints: each file of the configuration after a
// line that names it. An include becomes what it includes.
func ParseNginx(dump string) []Directive {
	const mark = "# configuration file "
	var order []string
	files := map[string]*nginx.Config{}
	for _, part := range strings.Split("\n"+dump, "\n"+mark)[1:] {
		head, content, _ := strings.Cut(part, "\n")
		name := strings.TrimSuffix(strings.TrimSpace(head), ":")
		if _, twice := files[name]; !twice {
			order = append(order, name)
		}
		// nginx has taken it, so it can be read; otherwise it is as good as empty.
		files[name], _ = nginx.Parse([]byte(content))
	}
	if len(order) == 0 {
		return nil
	}
	r := nginxReader{files: files, order: order, prefix: path.Dir(order[0]), open: map[string]bool{}}
	return r.read(order[0])
}

// nginxReader follows includes.
type nginxReader struct {
	files  map[string]*nginx.Config
	order  []string
	prefix string
	open   map[string]bool
}

func (r *nginxReader) read(file string) []Directive {
	if r.open[file] || r.files[file] == nil {
		return nil // a circle, which nginx refuses
	}
	r.open[file] = true
	defer delete(r.open, file)
	return r.directives(file, r.files[file].Directives)
}

func (r *nginxReader) directives(file string, list []nginx.Directive) []Directive {
	var all []Directive
	for i := range list {
		d := &list[i]
		if d.Name() == "include" && len(d.Args()) == 1 {
			all = append(all, r.included(d.Args()[0])...)
			continue
		}
		all = append(all, Directive{
			file: file, line: d.Line(), words: append([]string{d.Name()}, d.Args()...),
			isBlock: d.Block, block: r.directives(file, d.Body),
		})
	}
	return all
}

// included are the directives of the files that a pattern matches.
func (r *nginxReader) included(pattern string) []Directive {
	if !path.IsAbs(pattern) {
		pattern = path.Join(r.prefix, pattern)
	}
	var all []Directive
	for _, file := range r.order {
		if ok, err := path.Match(pattern, file); ok && err == nil {
			all = append(all, r.read(file)...)
		}
	}
	return all
}
