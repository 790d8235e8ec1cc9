package report

import (
	"bytes"
	"fmt"
	"html"
	"io"
)

// The picture's measures in pixels. Ratios of more than most are cut off there
// and written as a number all the same.
const (
	pictureWidth = 860
	barsFrom     = 400
	barsWidth    = 360
	barHeight    = 12
	most         = 2.0
)

// Paper and ink follow the reader's scheme, both or neither, and the colours read
// on either.
const style = `<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.small { font-size: 11px }
.head { font-weight: 600 }
.line { stroke: #1f2328 }
.grid { stroke: #8b949e; stroke-opacity: .35 }
.spread { stroke: #6e7781; stroke-width: 2 }
.paper { fill: #ffffff }
.a { fill: #2f81f7 } .b { fill: #d29922 } .c { fill: #8957e5 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .line { stroke: #e6edf3 } .spread { stroke: #afb8c1 } .paper { fill: #0d1117 } }
</style>
`

// WritePicture draws the ratios of one of ours against each rival: bars with
// their spread, and a line at 1.0.
func (r *Report) WritePicture(w io.Writer, ours string) error {
	p := picture{y: 34}
	p.head(ours, r.rivals())
	for _, higher := range []bool{false, true} {
		p.part(r, ours, higher)
	}
	_, err := w.Write(p.finish())
	return err
}

func (r *Report) rivals() []string {
	var names []string
	for _, c := range r.Contenders {
		if c.Kind == Rival {
			names = append(names, c.Name)
		}
	}
	return names
}

// picture is an SVG that grows downwards.
type picture struct {
	body bytes.Buffer
	y    float64
}

// head writes the title and which colour is whose.
func (p *picture) head(ours string, rivals []string) {
	p.text(12, 22, "head", ours+" divided by …")
	x := float64(barsFrom)
	for i, rival := range rivals {
		fmt.Fprintf(&p.body, `<rect class="%s" x="%g" y="12" width="12" height="12"/>`+"\n", colour(i), x)
		p.text(x+18, 22, "", rival)
		x += 120
	}
}

// part draws the measures of which less, or more, is better.
func (p *picture) part(r *Report, ours string, higher bool) {
	drawn := false
	for _, c := range r.Cases {
		for _, m := range r.Measures {
			if !m.Pictured || m.HigherIsBetter != higher {
				continue
			}
			bars := r.bars(c, m, ours)
			if len(bars) == 0 {
				continue
			}
			if !drawn {
				p.partHead(higher)
				drawn = true
			}
			p.group(c.Title+": "+m.Title, bars)
		}
	}
}

func (p *picture) partHead(higher bool) {
	title := "less is better"
	if higher {
		title = "more is better"
	}
	p.y += 20
	p.text(12, p.y, "head", title)
	p.y += 10
}

// bar is one ratio with the number of its rival.
type bar struct {
	rival int
	ratio Spread
}

func (r *Report) bars(c Case, m Measure, ours string) []bar {
	var bars []bar
	for i, rival := range r.rivals() {
		if ratio := r.Ratio(c.Key, m.Key, ours, rival); ratio.Rounds > 0 {
			bars = append(bars, bar{i, ratio})
		}
	}
	return bars
}

// group draws the bars of one measure, one below the other.
func (p *picture) group(title string, bars []bar) {
	height := float64(len(bars) * (barHeight + 2))
	p.text(12, p.y+height/2+4, "", title)
	for _, at := range []float64{0, 0.5, 1.5, most} {
		p.vertical("grid", at, height)
	}
	for _, b := range bars {
		width := across(b.ratio.Median)
		fmt.Fprintf(&p.body, `<rect class="%s" x="%d" y="%g" width="%.1f" height="%d"/>`+"\n",
			colour(b.rival), barsFrom, p.y, width, barHeight)
		middle := p.y + barHeight/2
		fmt.Fprintf(&p.body, `<line class="spread" x1="%.1f" y1="%g" x2="%.1f" y2="%g"/>`+"\n",
			barsFrom+across(b.ratio.Min), middle, barsFrom+across(b.ratio.Max), middle)
		p.text(barsFrom+barsWidth+8, p.y+barHeight-2, "small", fmt.Sprintf("%.2f", b.ratio.Median))
		p.y += barHeight + 2
	}
	p.y -= height
	p.vertical("line", 1, height)
	p.y += height + 10
}

// vertical draws a line at a ratio, as high as the group that begins at p.y.
func (p *picture) vertical(class string, ratio, height float64) {
	x := barsFrom + across(ratio)
	fmt.Fprintf(&p.body, `<line class="%s" x1="%.1f" y1="%g" x2="%.1f" y2="%g"/>`+"\n", class, x, p.y-4, x, p.y+height+2)
}

func (p *picture) text(x, y float64, class, text string) {
	fmt.Fprintf(&p.body, `<text class="%s" x="%.1f" y="%.1f">%s</text>`+"\n", class, x, y, html.EscapeString(text))
}

func (p *picture) finish() []byte {
	p.text(barsFrom+across(1)-8, p.y+12, "small", "1.0")
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %d %.0f">`+"\n",
		pictureWidth, p.y+24, pictureWidth, p.y+24)
	out.WriteString(style)
	out.WriteString(`<rect class="paper" width="100%" height="100%" rx="6"/>` + "\n")
	out.Write(p.body.Bytes())
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// across is how far to the right of the bars' beginning a ratio lies.
func across(ratio float64) float64 { return min(ratio, most) / most * barsWidth }

func colour(rival int) string { return string(rune('a' + min(rival, 2))) }
