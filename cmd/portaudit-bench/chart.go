package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
	"time"
)

// The geometry of the chart, in pixels.
const (
	chartWidth = 860
	labelWidth = 270
	barHeight  = 16
	barGap     = 6
	groupGap   = 40
)

// chart draws the wall times as bars on a logarithmic scale, one group a load.
func chart(results []result) string {
	var b strings.Builder
	height := 30
	longest, shortest := time.Millisecond, time.Hour
	for _, r := range results {
		height += groupGap
		for _, row := range r.rows {
			if len(row.samples) > 0 {
				height += barHeight + barGap
				longest, shortest = max(longest, row.median().wall), min(shortest, row.median().wall)
			}
		}
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="Wall time of portaudit and its peers">
<style>
	text { font: 13px system-ui, sans-serif; fill: #24292f }
	.title { font-weight: 600 }
	.peer { fill: #8c959f }
	.own { fill: #0969da }
	@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .peer { fill: #6e7681 } .own { fill: #58a6ff } }
</style>
`, chartWidth, height, chartWidth, height)
	y := 10
	for _, r := range results {
		y += groupGap - 14
		fmt.Fprintf(&b, "<text class=\"title\" x=\"0\" y=\"%d\">%s: %s</text>\n", y, escape(r.load.name), escape(r.load.String()))
		y += 14
		for _, row := range r.rows {
			if len(row.samples) == 0 {
				continue
			}
			wall := row.median().wall
			class := "peer"
			if strings.HasPrefix(row.name, "portaudit") {
				class = "own"
			}
			w := barWidth(wall, shortest, longest)
			fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>", labelWidth-8, y+barHeight-4, escape(row.name))
			fmt.Fprintf(&b, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"2\"/>", class, labelWidth, y, w, barHeight)
			fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\">%s</text>\n", labelWidth+w+6, y+barHeight-4, milliseconds(wall))
			y += barHeight + barGap
		}
	}
	fmt.Fprintf(&b, "<text x=\"0\" y=\"%d\">Wall time, logarithmic scale.</text>\n</svg>\n", height-8)
	return b.String()
}

// barWidth is proportional to the logarithm: ten times as long is as much wider
// anywhere on the scale.
func barWidth(wall, shortest, longest time.Duration) int {
	const room = chartWidth - labelWidth - 90
	span := math.Log(float64(longest)/float64(shortest)) + 1
	return int(room * (math.Log(float64(wall)/float64(shortest)) + 1) / span)
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
