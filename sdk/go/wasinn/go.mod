module wasinn

go 1.25
