// Command cron answers when a cron expression fires, by the library that reads the schedule of a CronJob, in the
// version that go.mod pins for Kubernetes. tests/local/schedule/kubernetes.rs compares Torpor with it.
//
// A line of the input has three parts: a time zone, seconds since the epoch separated by commas, and the expression,
// each after a tab. The answer is a line: for each of the times the next time at which the expression fires, in seconds
// since the epoch, separated by commas; 0 means not within five years. An invalid expression is answered with "invalid"
// and the error.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
)

func main() {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<20)
	for input.Scan() {
		fmt.Println(answer(strings.SplitN(input.Text(), "\t", 3)))
	}
}

func answer(question []string) string {
	zone, err := time.LoadLocation(question[0])
	if err != nil {
		panic(err)
	}
	schedule, err := cron.ParseStandard(question[2])
	if err != nil {
		return "invalid\t" + err.Error()
	}
	var times []string
	for _, text := range strings.Split(question[1], ",") {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			panic(err)
		}
		next := schedule.Next(time.Unix(seconds, 0).In(zone))
		if next.IsZero() {
			times = append(times, "0")
		} else {
			times = append(times, strconv.FormatInt(next.Unix(), 10))
		}
	}
	return strings.Join(times, ",")
}
