module guests

go 1.25

require wasinn v0.0.0

replace wasinn => ./wasinn
